"""What the executor holds requests to, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.policy import BatchPolicy

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Job


class ScoringTimeoutError(TimeoutError):
    """Raised inside ``run`` when it has taken longer than the scoring timeout."""


@dataclass(frozen=True)
class Limits:
    """What the executor holds requests to. Durations in seconds."""

    slots: int = 1
    """Requests that run at once, those that share a batch counted one by one."""
    max_queue: int = 1024
    """Jobs that wait at once; more are refused."""
    max_wait: float | None = None
    """How long a job may wait for a slot; None: until its turn comes. 0: it must find a slot free."""
    timeout: float = 3600.0
    """How long ``run`` may take; a batch with all its retries, or a stream to its end, counts as one ``run``."""
    stuck_after: float = 5.0
    """How long an interrupted ``run`` may go on (in native code, say) before the worker is given up."""
    batch: BatchPolicy | None = None
    """How jobs are merged; None: not at all."""
    watch_after: float = 0.02
    """How long a job waits before its client is watched for leaving: watching costs about as much as queueing."""

    @property
    def shares(self) -> tuple[int, ...]:
        """How many jobs each thread runs at once: one, or as even a share of ``slots`` as batches allow."""
        if self.batch is None:
            return (1,) * self.slots
        threads = -(-self.slots // self.batch.max_size)
        return tuple(self.slots // threads + (index < self.slots % threads) for index in range(threads))


@dataclass(frozen=True)
class Handlers:
    """What the executor calls: never with a lock held, none of them may raise."""

    run: Callable[[list[Job], int], None]
    """Run jobs, one or a batch, in slot ``int`` and answer them."""
    late: Callable[[Job, int], None]
    """Slot ``int`` came free only after the caller's deadline; not started."""
    waited: Callable[[Job], None]
    """A job waited too long; not started."""
    watch: Callable[[Job], None]
    """A job has waited a while: have :meth:`Executor.abandon` called when its client leaves."""
    gone: Callable[[Job], None]
    """The client left while the job waited; not started."""
    overdue: Callable[[Job], None]
    """A job runs too long; it will be interrupted."""
    stuck: Callable[[], None]
    """A slot cannot be interrupted: this process should be replaced."""
    run_async: Callable[[Job, int], Coroutine[Any, Any, None]] | None = None
    """As ``run``, for a script whose ``run`` is awaited."""
