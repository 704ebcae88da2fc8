"""Taking a batch out of the queue: how many, and how long to hold it back for more.

What already waits is taken at once, up to the size: under load, batches form by themselves while the one before
runs. Holding a call back is worth it only where others are about to come. That is known from the recent past:
as many requests as were in flight when the last batch ended (its own, and those that had queued up meanwhile)
are *expected* to be in the next. A client alone is never held back; a batch with everybody aboard leaves at
once; and a wait that was in vain lowers what is expected, so it is not repeated. Figures:
docs/decisions/scorer-batching.md.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty
from typing import Any, Generic, Protocol, TypeVar

from penstock_scorer.batching.policy import BatchPolicy

T = TypeVar("T")


class Source(Protocol[T]):
    """Where work comes from: ``queue.SimpleQueue`` has this shape. None means that no more will come."""

    def get(self, block: bool = True, timeout: float | None = None) -> T | None:
        """The next one, in order of arrival.

        Raises:
            Empty: none came within ``timeout`` seconds, or none was there and ``block`` is false.
        """

    def put(self, item: T | None) -> None:
        """Give one back to the end."""

    def qsize(self) -> int:
        """How many wait, about."""


class Collector(Generic[T]):
    """Collects the batches of one slot.

    Args:
        source: The queue, shared with other slots.
        policy: Size and delay.
        claim: Whether an item may still be worked on; those that may not are dropped.
        clock: Seconds, monotonic.
        size: Items in a batch, at most; None: what the policy says. Less where slots share a limit.
    """

    def __init__(
        self,
        source: Source[T],
        policy: BatchPolicy,
        claim: Callable[[T], bool],
        clock: Callable[[], float],
        size: int | None = None,
    ) -> None:
        self._source = source
        self._delay = policy.max_delay_s
        self._size = min(policy.max_size, size or policy.max_size)
        self._claim = claim
        self._clock = clock
        self._expected = 1

    def take(self) -> list[T] | None:
        """The next batch, of one or more; None when no more work will come."""
        batch: list[T] = []
        while not batch:
            item = self._source.get()
            if item is None:
                return None
            self._add(batch, item)
        self._take_waiting(batch)
        return batch

    def done(self, size: int) -> None:
        """A batch of ``size`` has run: remember how many were in flight."""
        self._expected = min(self._size, size + self._source.qsize())

    def _take_waiting(self, batch: list[T]) -> None:
        limit: float | None = None
        while len(batch) < self._size:
            try:
                item = self._source.get(False)
            except Empty:
                if len(batch) >= self._expected or not self._delay:
                    return
                now = self._clock()
                limit = now + self._delay if limit is None else limit
                if now >= limit:
                    return
                try:
                    item = self._source.get(True, limit - now)
                except Empty:
                    return
            if item is None:
                # The end: for the next take, here or in another slot.
                self._source.put(None)
                return
            self._add(batch, item)

    def _add(self, batch: list[Any], item: T) -> None:
        if self._claim(item):
            batch.append(item)
