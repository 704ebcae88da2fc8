"""The executor of an ``async def run``: one event loop, as many coroutines at once as there are slots.

The loop runs on the thread that called ``init``, for the reason blocking scripts stay on it, and what ``init``
opened on the loop (clients, pools) can be used by ``run``. Queue, limits and watchman are those of
:class:`Executor`; a coroutine is interrupted by cancelling its task, and one that blocks the loop is found by the
watchman, as a blocking ``run`` in native code is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from queue import Empty
from typing import Any

from penstock_scorer.dataplane.executor import Executor
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import Handlers, Limits
from penstock_scorer.dataplane.slot import Slot

_local = threading.local()


class AsyncExecutor(Executor):
    """Slots that are coroutines.

    Args:
        loop: The event loop to run them on; None: a new one.
    """

    def __init__(
        self,
        limits: Limits,
        handlers: Handlers,
        clock: Callable[[], float] = time.perf_counter,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(limits, handlers, clock)
        self._loop = loop or asyncio.new_event_loop()
        self._coroutines = [_CoroutineSlot(self._loop) for _ in self._shares]
        self._slots = list(self._coroutines)
        self._free = list(range(len(self._slots)))
        self._ending = False

    def submit(self, job: Job) -> bool:
        """As :meth:`Executor.submit`."""
        taken = super().submit(job)
        if taken:
            self._call_soon(self._take)
        return taken

    def start(self) -> None:
        """Start the watchman; the slots come to life in :meth:`work`."""
        threading.Thread(target=self._watch, name="scorer-watch", daemon=True).start()

    def work(self, index: int = 0) -> None:  # noqa: ARG002 - one thread is all the slots
        """Be the loop until :meth:`stop`."""
        self._ending = False
        self._loop.call_soon(self._take)
        self._loop.run_forever()

    def stop(self) -> None:
        """End the loop once what runs has ended; what waits is not started."""
        super().stop()
        self._call_soon(self._take)

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop has ended: this process is on its way out.
            return

    def _take(self) -> None:
        """Start what waits, as far as slots are free."""
        while self._free and not self._ending:
            try:
                job = self._queue.get(block=False)
            except Empty:
                break
            if job is None:
                self._ending = True
            elif self._claim(job, self._free[-1]):
                self._start_one(job, self._free.pop())
        if self._ending and len(self._free) == len(self._slots):
            self._loop.stop()

    def _start_one(self, job: Job, index: int) -> None:
        slot = self._coroutines[index]
        slot.begin([job], self._clock())
        slot.task = self._loop.create_task(self._run_one(slot, job, index))

    async def _run_one(self, slot: _CoroutineSlot, job: Job, index: int) -> None:
        assert self._handlers.run_async is not None  # noqa: S101 - said to mypy
        try:
            await self._handlers.run_async(job, index)
        except asyncio.CancelledError:
            # Interrupted by the watchman, who has answered.
            pass
        finally:
            slot.end()
            slot.task = None
            self._free.append(index)
            self._take()


class _CoroutineSlot(Slot):
    """A slot whose job is a task."""

    __slots__ = ("_loop", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self.jobs = self.interrupted = None
        self.finished = self.target

    def interrupt(self, jobs: list[Job], now: float) -> None:
        self.interrupted = now
        self._loop.call_soon_threadsafe(self._cancel, jobs)

    def _cancel(self, jobs: list[Job]) -> None:
        if self.jobs is jobs and self.task is not None:
            self.task.cancel()


def complete(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on a loop of this thread's own."""
    return _thread_loop().run_until_complete(coroutine)


def drive(pieces: AsyncIterator[Any]) -> Iterator[Any]:
    """An asynchronous iterator as a plain one, on a loop of this thread's own."""
    loop = _thread_loop()
    try:
        while True:
            try:
                piece = loop.run_until_complete(_next(pieces))
            except StopAsyncIteration:
                return
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            loop.run_until_complete(close())


async def _next(pieces: AsyncIterator[Any]) -> Any:
    return await anext(pieces)


def _thread_loop() -> asyncio.AbstractEventLoop:
    # A loop that an interruption left in the middle of something is not used again.
    loop: asyncio.AbstractEventLoop | None = getattr(_local, "loop", None)
    if loop is None or loop.is_closed() or loop.is_running():
        loop = _local.loop = asyncio.new_event_loop()
    return loop
