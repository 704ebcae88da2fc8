"""W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to.

The scorer makes no spans. It validates what came in, names the trace in its logs, and hands ``traceparent`` and
``tracestate`` on unchanged: to the script in ``request_headers``, which is what its own calls should carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class TraceContext:
    """A valid ``traceparent``."""

    trace_id: str
    parent_id: str


def parse(traceparent: str | None) -> TraceContext | None:
    """The trace a header names; None where it is missing or, by the specification, to be ignored."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        return None
    version, trace_id, parent_id, _flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return TraceContext(trace_id, parent_id)
