"""Where the script's blocking code runs: a few slots, one bounded queue before them, and a watchman.

A *slot* is a thread that runs one job at a time. The first slot is the thread that called ``init`` (the
process' main thread), because scripts hold on to things that belong to a thread: SQLite connections,
TensorFlow graphs, CUDA contexts. Slots never wait for the transport and the transport never waits for a slot,
so health is answered while the script computes.

The watchman gives up jobs that waited longer than they may, and interrupts those that run too long. All jobs
may wait the same time and run the same time, so it need not be woken for a new one: sleeping until the oldest
is due, and never longer than the shorter of the two limits, misses none.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Job

_LONGEST_SLEEP_S = 3600.0


class ScoringTimeoutError(TimeoutError):
    """Raised inside ``run`` when it has taken longer than the scoring timeout."""


@dataclass(frozen=True)
class Limits:
    """What the executor holds requests to. Durations in seconds."""

    slots: int = 1
    """Jobs that run at once."""
    max_queue: int = 1024
    """Jobs that wait at once; more are refused."""
    max_wait: float | None = None
    """How long a job may wait for a slot; None: until its turn comes. 0: it must find a slot free."""
    timeout: float = 3600.0
    """How long ``run`` may take."""
    stuck_after: float = 5.0
    """How long an interrupted ``run`` may go on (in native code, say) before the worker is given up."""


@dataclass(frozen=True)
class Handlers:
    """What the executor calls: never with a lock held, none of them may raise."""

    run: Callable[[Job, int], None]
    """Run a job in slot ``int`` and answer it."""
    late: Callable[[Job], None]
    """A slot came free only after the caller's deadline; not started."""
    waited: Callable[[Job], None]
    """A job waited too long; not started."""
    overdue: Callable[[Job], None]
    """A job runs too long; it will be interrupted."""
    stuck: Callable[[], None]
    """A slot cannot be interrupted: this process should be replaced."""


class _Slot:
    __slots__ = ("interrupted", "job", "lock", "since", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.job: Job | None = None
        self.since = 0.0
        self.thread = 0
        self.interrupted: float | None = None


class Executor:
    """Slots, queue and watchman. ``submit`` is called by one thread at a time."""

    def __init__(self, limits: Limits, handlers: Handlers, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limits = limits
        self._handlers = handlers
        self._clock = clock
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._slots = [_Slot() for _ in range(limits.slots)]
        self._submitted = 0
        # One cell for each slot and one for the watchman: every cell has a single writer, so no count is
        # lost.
        self._finished = [0] * (limits.slots + 1)
        self._order: deque[Job] = deque()
        self._order_lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def in_flight(self) -> int:
        """Jobs waiting or running."""
        return self._submitted - sum(self._finished)

    def submit(self, job: Job) -> bool:
        """Queue a job; False when the queue is full."""
        limits = self.limits
        room = limits.slots if limits.max_wait == 0 else limits.slots + limits.max_queue
        if self._submitted - sum(self._finished) >= room:
            return False
        self._submitted += 1
        if limits.max_wait:
            job.expires = job.received + limits.max_wait
            with self._order_lock:
                order = self._order
                while order and not order[0].waiting:
                    order.popleft()
                order.append(job)
        self._queue.put(job)
        return True

    def start(self) -> None:
        """Start the watchman and every slot but the first, which :meth:`work` makes of the calling thread."""
        threading.Thread(target=self._watch, name="scorer-watch", daemon=True).start()
        for index in range(1, self.limits.slots):
            threading.Thread(target=self.work, args=(index,), name=f"scorer-slot-{index}", daemon=True).start()

    def work(self, index: int = 0) -> None:
        """Be slot ``index`` until :meth:`stop`."""
        slot = self._slots[index]
        slot.thread = threading.get_ident()
        get = self._queue.get
        while True:
            job = get()
            if job is None:
                return
            if job.start():
                self._run(slot, index, job)

    def stop(self) -> None:
        """Let every slot end after the job it has; what waits is not started."""
        self._stopped.set()
        for _ in self._slots:
            self._queue.put(None)

    def look(self) -> float:
        """Give up and interrupt what is due; returns the seconds until there may be more to do."""
        now = self._clock()
        due = min(self.limits.max_wait or _LONGEST_SLEEP_S, self.limits.timeout, _LONGEST_SLEEP_S)
        while True:
            with self._order_lock:
                while self._order and not self._order[0].waiting:
                    self._order.popleft()
                job = self._order[0] if self._order else None
            if job is None or job.expires is None:
                break
            if job.expires > now:
                due = min(due, job.expires - now)
                break
            if job.start():
                self._handlers.waited(job)
                self._finished[-1] += 1
        for slot in self._slots:
            due = min(due, self._look_at(slot, now))
        return due

    def _look_at(self, slot: _Slot, now: float) -> float:
        job = slot.job
        if job is None:
            return _LONGEST_SLEEP_S
        if slot.interrupted is not None:
            left = slot.interrupted + self.limits.stuck_after - now
            if left <= 0:
                self._handlers.stuck()
                return _LONGEST_SLEEP_S
            return left
        left = slot.since + self.limits.timeout - now
        if left > 0:
            return left
        self._handlers.overdue(job)
        with slot.lock:
            if slot.job is job:
                slot.interrupted = now
                _raise_in(slot.thread, ScoringTimeoutError)
        return self.limits.stuck_after

    def _watch(self) -> None:
        while not self._stopped.wait(self.look()):
            pass

    def _run(self, slot: _Slot, index: int, job: Job) -> None:
        now = self._clock()
        try:
            if job.deadline is not None and now > job.deadline:
                self._handlers.late(job)
                return
            slot.since = now
            slot.job = job
            self._handlers.run(job, index)
        except ScoringTimeoutError:
            # Raised a moment after run() had returned: it was answered, nothing is left to do.
            pass
        finally:
            self._finish(slot, index)

    def _finish(self, slot: _Slot, index: int) -> None:
        try:
            with slot.lock:
                slot.job = None
                if slot.interrupted is not None:
                    slot.interrupted = None
                    _raise_in(slot.thread, None)
        except ScoringTimeoutError:
            slot.job = slot.interrupted = None
        self._finished[index] += 1


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise ``error`` in a thread at its next bytecode; None takes back one that has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
