"""Plain HTTP/1.1 without a thread of its own: sockets that are polled by whoever has nothing else to do.

That is the slot's thread between two requests (:class:`penstock_scorer.dataplane.inbox.Inbox`), or a thread that does
nothing else, where several slots share the work. HTTP/2, which a client may begin with on the same socket, is passed
on to granian.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import select
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from penstock_scorer.http.connection import Connection, Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.http.door import Door

_PATIENCE_S = 30.0
"""For the rest of a request's head, and for each further piece of its body."""
_LINGER_S = 2.0
"""For a client to read the answer to a request that was not read to its end."""
_STALL_S = 300.0
"""For a client to read anything of an answer that it has no room for."""
_LEAST_BETWEEN_S = 0.1
"""Between two looks at what is due."""
_MOST_CONNECTIONS = 16384
_MOST_HELD = 8
"""Answers that are held back to be sent together."""
_QUICK_S = 0.0003
"""What a request may take, for the answers before the next to be held back."""
_PAUSE_S = 0.1
"""Until accepting is tried again where descriptors or memory have run out."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_log = logging.getLogger("penstock_scorer.http")


class Loop:
    """Polls listeners and their connections. :meth:`poll` by one thread at a time, all else by any.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._doors: dict[int, Door] = {}
        self._connections: dict[int, Connection] = {}
        self._deadlines: dict[Connection, float] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._next_look = math.inf
        """When something may be due; nothing is before."""
        self._paused_until = 0.0
        self._polling = False
        self._held: deque[Callable[[], None]] = deque()
        self._holder = 0
        """The thread whose answers are held back; 0: none."""
        self._began = 0.0
        """When the request that runs was begun with; 0: none runs."""
        self._quick = False
        """Whether the one before it took no longer than a moment."""

    def open(self, door: Door) -> None:
        """Accept connections at ``door`` from now on."""
        self._doors[door.listener.fileno()] = door
        self._epoll.register(door.listener.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self.wake()

    def close(self, door: Door) -> None:
        """Accept no more at ``door``, soon."""
        self.call(partial(self._close, door.listener.fileno()))

    def start(self) -> None:
        """Poll on a thread that does nothing else."""
        threading.Thread(target=self._forever, name="scorer-http", daemon=True).start()

    def wake(self) -> None:
        """Have :meth:`poll` return soon."""
        os.eventfd_write(self._bell, 1)

    def turn(self, *, more: bool) -> None:
        """The calling thread begins with a request; ``more``: others wait behind it.

        While one takes no longer than a moment, answers are held back until a few are there, or none waits: writing
        and sending them one by one, in between what the script does, wakes their clients one by one, and finds nothing
        of its own in the processor's caches. Should the next one take long after all, :meth:`poll` sends what is held,
        and another thread calls that.
        """
        now = self._clock()
        self._ended(now)
        if self._held and (not self._quick or len(self._held) >= _MOST_HELD):
            self.release()
            now = self._clock()
        self._began = now
        self._holder = threading.get_ident() if self._quick and (more or self._held) else 0

    def hold(self, send: Callable[[], None]) -> bool:
        """Whether ``send`` will be called in a moment, by any thread, together with others.

        Not while another thread waits in :meth:`poll`: it would not be seen.
        """
        if self._holder != threading.get_ident() or self._polling:
            return False
        self._held.append(send)
        # It may have begun meanwhile, and have looked before.
        self._rouse()
        return True

    def release(self) -> None:
        """Send what is held back, and hold nothing back until the next :meth:`turn`. Any thread may."""
        self._holder = 0
        while self._held:
            try:
                send = self._held.popleft()
            except IndexError:
                return
            self._try(send)

    def poll(self, timeout: float | None) -> None:
        """Wait for something to happen, at most ``timeout`` seconds (None: as long as it takes), and deal with it."""
        self._ended(self._clock())
        self.release()
        while self._calls:
            self._try(self._calls.popleft())
            # Something happened: a request read ahead may wait for the very thread that would sleep here.
            timeout = 0
        if self._next_look < math.inf:
            timeout = self._look(timeout)
        self._polling = True
        if self._calls or self._held:
            timeout = 0
        ready = self._epoll.poll(timeout)
        self._polling = False
        for descriptor, events in ready:
            connection = self._connections.get(descriptor)
            if connection is not None:
                try:
                    if events & select.EPOLLOUT:
                        self._write(connection)
                    if events & ~select.EPOLLOUT:
                        self._read(connection)
                except Exception:  # noqa: BLE001 - as in _try
                    _log.exception("A fault in the scorer")
                    connection.close()
            else:
                self._answer(descriptor)

    def watch(self, descriptor: int, events: Events) -> None:
        """Wait for these at a connection."""
        mask = (select.EPOLLIN if events.read else select.EPOLLRDHUP) | (select.EPOLLOUT if events.write else 0)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(descriptor, mask)

    def call(self, what: Callable[[], None]) -> None:
        """Call ``what`` on the polling thread, soon."""
        self._calls.append(what)
        self._rouse()

    def resume(self, connection: Connection) -> None:
        """The answer under way is out: see what the connection has next."""
        self.call(partial(self._proceed, connection))

    def leave(self, descriptor: int, connection: Connection) -> None:
        """This one is about to be closed."""
        if self._connections.get(descriptor) is connection:
            del self._connections[descriptor]
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)
        self._deadlines.pop(connection, None)

    def _rouse(self) -> None:
        if self._polling:
            self.wake()

    def _ended(self, now: float) -> None:
        if self._began:
            self._quick = now - self._began < _QUICK_S
            self._began = 0.0

    def _forever(self) -> None:
        while True:
            self.poll(None)

    def _close(self, listener: int) -> None:
        if self._doors.pop(listener, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(listener)

    @staticmethod
    def _try(what: Callable[[], None]) -> None:
        """Whatever goes wrong with one connection, the others are polled on."""
        try:
            what()
        except Exception:  # noqa: BLE001 - there is nobody who could be told
            _log.exception("A fault in the scorer")

    def _answer(self, descriptor: int) -> None:
        """The bell, or somebody at a door."""
        if descriptor == self._bell:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        elif (door := self._doors.get(descriptor)) is not None:
            self._accept(door)

    def _write(self, connection: Connection) -> None:
        connection.writable()
        if connection.stalled:
            self._expect(connection, _STALL_S)
        elif not connection.waiting:
            self._deadlines.pop(connection, None)

    def _proceed(self, connection: Connection) -> None:
        try:
            connection.proceed()
        except Exception:  # noqa: BLE001 - as in _try
            _log.exception("A fault in the scorer")
            connection.close()
        if connection.lingers:
            self._expect(connection, _LINGER_S)
        elif connection.stalled:
            self._expect(connection, _STALL_S)
        elif connection.waiting and connection not in self._deadlines:
            self._expect(connection, _PATIENCE_S)

    def _read(self, connection: Connection) -> None:
        connection.readable()
        if connection.waiting:
            if not connection.lingers and (connection not in self._deadlines or connection.progresses):
                self._expect(connection, _PATIENCE_S)
        elif self._deadlines and not connection.stalled:
            self._deadlines.pop(connection, None)

    def _expect(self, connection: Connection, seconds: float) -> None:
        """Have it closed, or told, unless something happens within that time."""
        if connection.open:
            due = self._clock() + seconds
            self._deadlines[connection] = due
            self._next_look = min(self._next_look, due)

    def _accept(self, door: Door) -> None:
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._pause()
            return
        try:
            sock, _ = door.listener.accept()
        except OSError as error:
            # Another process took it, or it was gone at once; or there is no room.
            if error.errno in _EXHAUSTED:
                self._pause()
            return
        sock.setblocking(False)
        connection = Connection(sock, door)
        door.entered(connection)
        self._connections[sock.fileno()] = connection
        try:
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        except OSError:
            connection.close()
            self._pause()
            return
        # The kernel wakes the first of those that wait: whoever had its turn goes to the end, or one worker would get
        # every connection.
        with contextlib.suppress(OSError):
            self._epoll.unregister(door.listener.fileno())
            self._epoll.register(door.listener.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _pause(self) -> None:
        self._paused_until = self._clock() + _PAUSE_S
        self._next_look = min(self._next_look, self._paused_until)
        for descriptor in list(self._doors):
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def _look(self, timeout: float | None) -> float | None:
        """Deal with what is due; the time until the next."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = math.inf
            if self._paused_until and now >= self._paused_until:
                self._paused_until = 0.0
                for descriptor in list(self._doors):
                    with contextlib.suppress(OSError):
                        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            for connection, due in list(self._deadlines.items()):
                # Another thread may have closed it meanwhile.
                if due <= now and self._deadlines.pop(connection, None) is not None:
                    self._try(connection.expire)
            dues = [*self._deadlines.values(), *([self._paused_until] if self._paused_until else [])]
            if dues:
                self._next_look = min(self._next_look, max(min(dues), now + _LEAST_BETWEEN_S))
        if self._next_look == math.inf:
            return timeout
        next_look = max(0.0, self._next_look - now)
        return next_look if timeout is None else min(timeout, next_look)
