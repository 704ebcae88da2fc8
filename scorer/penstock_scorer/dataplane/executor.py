"""Where the script's code runs: a few slots, one bounded queue before them, and a watchman.

A *slot* is a thread that runs one job, or one batch of jobs, at a time. The first slot is the thread that called
``init`` (the process' main thread), because scripts hold on to things that belong to a thread: SQLite
connections, TensorFlow graphs, CUDA contexts. Slots never wait for the transport and the transport never waits
for a slot, so health is answered while the script computes.

The watchman gives up jobs that waited longer than they may, has the clients of those that wait a while watched,
and interrupts jobs that run too long. It sleeps until the next of these is due. All jobs may wait the same time
and run the same time, so a new one need not wake it, except the first that waits after none did.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from penstock_scorer.batching.collector import Collector, Source
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import Handlers, Limits, ScoringTimeoutError
from penstock_scorer.dataplane.slot import Slot

_LONGEST_SLEEP_S = 3600.0


class Executor:
    """Slots, queue and watchman. Everything public may be called from any thread."""

    def __init__(
        self,
        limits: Limits,
        handlers: Handlers,
        clock: Callable[[], float] = time.perf_counter,
        queue: Source[Job] | None = None,
    ) -> None:
        """``queue``: what jobs wait in; None: one of its own."""
        self.limits = limits
        self._handlers = handlers
        self._clock = clock
        self._queue: Source[Job] = SimpleQueue() if queue is None else queue
        self._shares = limits.shares
        self._slots = [Slot() for _ in self._shares]
        self._room = limits.slots if limits.max_wait == 0 else limits.slots + limits.max_queue
        self._threads = len(self._slots)
        self._lock = threading.Lock()
        self._submitted = 0
        # Jobs given up before they started; the slots count their own, each as its single writer.
        self._dropped = 0
        self._expiring: deque[Job] = deque()
        self._unwatched: deque[Job] = deque()
        self._asleep = False
        self._wake = threading.Event()
        self._stopped = False

    @property
    def in_flight(self) -> int:
        """Jobs waiting or running; one that has its result, and is about to be answered, is neither."""
        finished = self._dropped
        for slot in self._slots:
            finished += slot.finished
        return self._submitted - finished

    def submit(self, job: Job) -> bool:
        """Queue a job; False when the queue is full."""
        with self._lock:
            busy = self._submitted - self._dropped
            for slot in self._slots:
                busy -= slot.finished
            if busy >= self._room:
                return False
            self._submitted += 1
            if busy >= self._threads:
                self._note_waiting(job)
        self._queue.put(job)
        return True

    def abandon(self, job: Job) -> None:
        """The job's client has left: drop it unless it has started."""
        if job.start():
            self._drop()
            self._handlers.gone(job)

    def release(self, index: int) -> None:
        """Count one job of slot ``index`` as finished already: the script is done with it, its answer follows.

        Without it a client that has its answer could be refused its next request because the slot it has just
        vacated still counts as taken.
        """
        slot = self._slots[index]
        if slot.finished < slot.target:
            slot.finished += 1

    def start(self) -> None:
        """Start the watchman and every slot but the first, which :meth:`work` makes of the calling thread."""
        threading.Thread(target=self._watch, name="scorer-watch", daemon=True).start()
        for index in range(1, len(self._slots)):
            threading.Thread(target=self.work, args=(index,), name=f"scorer-slot-{index}", daemon=True).start()

    def work(self, index: int = 0) -> None:
        """Be slot ``index`` until :meth:`stop`."""
        slot = self._slots[index]
        slot.thread = threading.get_ident()
        if self.limits.batch is not None:
            self._work_in_batches(slot, index)
            return
        get = self._queue.get
        while True:
            job = get()
            if job is None:
                return
            if self._claim(job, index):
                self._run(slot, index, [job])

    def stop(self) -> None:
        """Let every slot end after the job it has; what waits is not started."""
        self._stopped = True
        self._wake.set()
        for _ in self._slots:
            self._queue.put(None)

    def close(self) -> None:
        """Give back what it holds after its last :meth:`work`; the end of the process does as much."""

    def look(self) -> float:
        """Give up, watch and interrupt what is due; returns the seconds until there may be more to do."""
        now = self._clock()
        limits = self.limits
        due = min(limits.max_wait or _LONGEST_SLEEP_S, limits.timeout, _LONGEST_SLEEP_S)
        while (job := self._oldest(self._expiring)) is not None:
            assert job.expires is not None  # noqa: S101 - said to mypy; only such jobs are in there
            if job.expires > now:
                due = min(due, job.expires - now)
                break
            if job.start():
                self._drop()
                self._handlers.waited(job)
        while (job := self._oldest(self._unwatched)) is not None:
            if job.received + limits.watch_after > now:
                due = min(due, job.received + limits.watch_after - now)
                break
            self._forget(job)
            self._handlers.watch(job)
        for slot in self._slots:
            due = min(due, self._look_at(slot, now))
        return due

    def _work_in_batches(self, slot: Slot, index: int) -> None:
        assert self.limits.batch is not None  # noqa: S101 - said to mypy
        share = self._shares[index]
        collector = Collector(self._queue, self.limits.batch, lambda job: self._claim(job, index), self._clock, share)
        while True:
            jobs = collector.take()
            if jobs is None:
                return
            self._run(slot, index, jobs)
            collector.done(len(jobs))

    def _claim(self, job: Job, index: int) -> bool:
        if not job.start():
            return False
        if job.deadline is not None and self._clock() > job.deadline:
            self._drop()
            self._handlers.late(job, index)
            return False
        return True

    def _run(self, slot: Slot, index: int, jobs: list[Job]) -> None:
        try:
            slot.begin(jobs, self._clock())
            self._handlers.run(jobs, index)
        except ScoringTimeoutError:
            # Raised a moment after run() had returned: it was answered, nothing is left to do.
            pass
        finally:
            slot.end()

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _note_waiting(self, job: Job) -> None:
        """This job has to wait: keep it in the watchman's sight, and forget those that wait no more."""
        unwatched = self._unwatched
        while unwatched and not unwatched[0].waiting:
            unwatched.popleft()
        unwatched.append(job)
        if self.limits.max_wait:
            job.expires = job.received + self.limits.max_wait
            expiring = self._expiring
            while expiring and not expiring[0].waiting:
                expiring.popleft()
            expiring.append(job)
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def _oldest(self, waiting: deque[Job]) -> Job | None:
        """The first job that still waits; those before it are forgotten."""
        with self._lock:
            while waiting and not waiting[0].waiting:
                waiting.popleft()
            return waiting[0] if waiting else None

    def _forget(self, job: Job) -> None:
        """Take the oldest unwatched job away, unless it has started and been forgotten meanwhile."""
        with self._lock:
            if self._unwatched and self._unwatched[0] is job:
                self._unwatched.popleft()

    def _look_at(self, slot: Slot, now: float) -> float:
        jobs = slot.jobs
        if not jobs:
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
        for job in jobs:
            self._handlers.overdue(job)
        slot.interrupt(jobs, now)
        return self.limits.stuck_after

    def _watch(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._asleep = True
            due = self.look()
            # Awake often enough anyway: then a job that begins to wait need not wake it.
            self._asleep = due > self.limits.watch_after
            self._wake.wait(due)
            self._asleep = False
