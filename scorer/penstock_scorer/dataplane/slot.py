"""One slot: what runs in it, since when, and how it is interrupted.

A slot is written by the thread that is the slot and read by the watchman. The lock only makes sure that an
interruption meets the jobs it is meant for and not the ones that follow.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

from penstock_scorer.dataplane.limits import ScoringTimeoutError

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Job


class Slot:
    """A thread that runs one job or one batch at a time."""

    __slots__ = ("_lock", "finished", "interrupted", "jobs", "since", "target", "thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.jobs: list[Job] | None = None
        self.since = 0.0
        self.thread = 0
        """The thread's identifier."""
        self.interrupted: float | None = None
        """When what runs was interrupted."""
        self.finished = 0
        """Jobs that are done, of all there ever were."""
        self.target = 0
        """What ``finished`` will be when those that run are done."""

    def begin(self, jobs: list[Job], now: float) -> None:
        """These run from now on."""
        self.target = self.finished + len(jobs)
        self.since = now
        self.jobs = jobs

    def end(self) -> None:
        """They are done; an interruption that has not struck yet is taken back."""
        try:
            with self._lock:
                self.jobs = None
                if self.interrupted is not None:
                    self.interrupted = None
                    raise_in(self.thread, None)
        except ScoringTimeoutError:
            self.jobs = self.interrupted = None
        self.finished = self.target

    def interrupt(self, jobs: list[Job], now: float) -> None:
        """Raise :class:`ScoringTimeoutError` in the thread at its next bytecode, if it still runs ``jobs``.

        Not where the script is done with them and their answers are being sent: a script that computes without a pause
        lets another thread look at the time only then.
        """
        with self._lock:
            if self.jobs is jobs:
                self.interrupted = now
                if self.finished < self.target:
                    raise_in(self.thread, ScoringTimeoutError)


def raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise ``error`` in a thread at its next bytecode; None takes back one that has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
