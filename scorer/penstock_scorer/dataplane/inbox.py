"""The queue before a slot whose thread also looks after the transport.

Handing a request from the transport's thread to the slot's and back costs as much as all else the server does with a
small one. So the slot's thread, while it waits for work, polls the transport itself: what it reads it runs, and
answers, and no other thread wakes. While it is busy with the script for longer than a moment, another thread, the
*deputy*, polls instead, so that health is answered and callers are told apart from those that left; what it reads it
puts here.

One of them polls at a time: whoever has the *baton*. Figures: docs/decisions/scorer-own-transport.md.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import Empty
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
_MOMENT_S = 0.01
"""How long the script has the thread before the deputy steps in, about; and how often the deputy looks."""
_BUSY_LOOKS = 2
"""Looks after which the deputy polls once for a consumer that has so much to do that it does not get to it."""
_IDLE_LOOKS = 20
"""Looks without a request after which the deputy sleeps until there is one."""


class Poller(Protocol):
    """A transport that is polled."""

    def poll(self, timeout: float | None) -> None:
        """Wait for something to happen, at most ``timeout`` seconds (None: as long as it takes), and deal with it."""

    def wake(self) -> None:
        """Have :meth:`poll` return soon. May be called from any thread."""

    def turn(self, *, more: bool) -> None:
        """The calling thread, which polls when it has nothing to do, begins with an item; ``more`` wait behind it.

        What it answers meanwhile may be held back until it calls this again, or polls.
        """

    def release(self) -> None:
        """Hold nothing back any more."""


class Inbox(Generic[T]):
    """A queue of one consumer, who polls while it is empty. :class:`queue.SimpleQueue`, as far as slots use it."""

    def __init__(self) -> None:
        self._items: deque[T | None] = deque()
        self._poller: Poller | None = None
        self._arrived = threading.Event()
        self._baton = threading.Lock()
        self._consumer = 0
        """The thread that waits, or waited last."""
        self._waiting = False
        """Whether the consumer is in :meth:`get`; it polls, or is about to."""
        self._wanted = False
        """Whether the consumer waits for the baton."""
        self._takes = 0
        self._polls = 0
        """Items taken, and times the consumer has polled."""
        self._asleep = False
        self._roused = threading.Event()

    def serve(self, poller: Poller) -> None:
        """Poll from now on. Called once, from any thread."""
        self._poller = poller
        threading.Thread(target=self._deputize, args=(poller,), name="scorer-deputy", daemon=True).start()
        self._arrived.set()

    def put(self, item: T | None) -> None:
        """Add one to the end."""
        self._items.append(item)
        if self._waiting and threading.get_ident() != self._consumer:
            self._rouse()

    def get(self, block: bool = True, timeout: float | None = None) -> T | None:
        """The next one, in order of arrival.

        Raises:
            Empty: none came within ``timeout`` seconds, or none was there and ``block`` is false.
        """
        items = self._items
        if not items:
            if not block:
                raise Empty
            self._wait(timeout)
        try:
            item = items.popleft()
        except IndexError:
            raise Empty from None
        self._takes += 1
        if (poller := self._poller) is not None:
            if item is None:
                poller.release()
            else:
                poller.turn(more=bool(items))
        if self._asleep:
            self._asleep = False
            self._roused.set()
        return item

    def qsize(self) -> int:
        """How many wait."""
        return len(self._items)

    def _wait(self, timeout: float | None) -> None:
        """Until something is there, or ``timeout`` is over."""
        end = None if timeout is None else time.perf_counter() + timeout
        self._consumer = threading.get_ident()
        self._waiting = True
        try:
            while not self._items:
                left = None if end is None else end - time.perf_counter()
                if left is not None and left <= 0:
                    return
                if self._poller is None:
                    self._arrived.wait(left)
                    self._arrived.clear()
                else:
                    self._poll(self._poller, left)
        finally:
            self._waiting = False

    def _poll(self, poller: Poller, timeout: float | None) -> None:
        if not self._baton.acquire(blocking=False):
            self._wanted = True
            poller.wake()
            self._baton.acquire()
            self._wanted = False
        try:
            # Whoever put something before it saw us wait has woken nobody.
            if not self._items:
                self._polls += 1
                poller.poll(timeout)
        finally:
            self._baton.release()

    def _rouse(self) -> None:
        if self._poller is not None:
            self._poller.wake()
        else:
            self._arrived.set()

    def _deputize(self, poller: Poller) -> None:
        looked, polled, idle, busy = -1, -1, 0, 0
        while True:
            if self._takes != looked:
                idle, busy = 0, busy + 1 if self._polls == polled else 0
                if busy >= _BUSY_LOOKS and not self._waiting:
                    # It takes one after the other, each quickly: what others put could keep it from polling for ever.
                    busy = 0
                    self._substitute(poller, 0)
            elif self._waiting:
                idle, busy = idle + 1, 0
            else:
                # Still busy with what it had at the last look.
                self._substitute(poller, None)
            looked, polled = self._takes, self._polls
            if idle > _IDLE_LOOKS:
                idle = 0
                self._sleep(looked)
            time.sleep(_MOMENT_S)

    def _substitute(self, poller: Poller, timeout: float | None) -> None:
        """Poll in the consumer's place: once, or without a ``timeout`` until it wants to do so itself."""
        if self._baton.acquire(blocking=False):
            try:
                poller.poll(timeout)
                while timeout is None and not self._wanted:
                    poller.poll(None)
            finally:
                self._baton.release()

    def _sleep(self, looked: int) -> None:
        """Until the consumer takes something."""
        self._roused.clear()
        self._asleep = True
        # Whatever it took before it saw us asleep has roused nobody.
        if self._takes == looked:
            self._roused.wait()
        self._asleep = False
