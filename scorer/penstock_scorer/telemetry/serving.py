"""The request a thread works on, so that a log line can name it: ours, and those of the script's own ``logging``.

Setting it costs every request some 0.1 us; what a log line needs of it is looked up only when one is written.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from penstock_scorer.telemetry import trace

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Job

job: ContextVar[Job | None] = ContextVar("penstock_scorer_job", default=None)
"""The job that runs in this context; None outside of ``run``."""


def identity() -> dict[str, str]:
    """``request_id``, and ``trace_id`` and ``parent_id`` where the caller sent a trace; empty outside of a request."""
    current = job.get()
    if current is None:
        return {}
    found = {"request_id": next((value for name, value in current.tail if name == "x-request-id"), "")}
    context = trace.parse(next((value for name, value in current.headers() if name == "traceparent"), None))
    if context is not None:
        found |= {"trace_id": context.trace_id, "parent_id": context.parent_id}
    return found
