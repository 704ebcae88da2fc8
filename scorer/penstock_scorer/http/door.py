"""A listening socket that a loop polls: what its connections are, who answers their requests, and how it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from penstock_scorer.http.connection import Connection, Events
    from penstock_scorer.http.loop import Loop
    from penstock_scorer.http.request import Request


class Door:
    """One listening socket of a loop (:class:`penstock_scorer.supervision.worker.Transport`).

    Args:
        loop: Polls it.
        listener: Listening by the time of :meth:`start`, and non-blocking from then on.
        handle: Called for each request on the polling thread; must not block or raise.
        too_large: Called, likewise, to answer a request whose body is larger than ``limit`` bytes.
        limit: Bytes a body may have.
        switch: Takes a connection of HTTP/2, and what was read of it; None: it is closed.
    """

    def __init__(  # noqa: PLR0917 - made once
        self,
        loop: Loop,
        listener: socket.socket,
        handle: Callable[[Request], None],
        too_large: Callable[[Request, int], None],
        limit: int,
        switch: Callable[[socket.socket, bytes], None] | None = None,
    ) -> None:
        self.listener = listener
        self.handle = handle
        self.too_large = too_large
        self.limit = limit
        self.draining = False
        self._switch = switch
        self._loop = loop
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._done: Callable[[], None] | None = None

    def start(self) -> None:
        """Accept connections from now on."""
        self.listener.setblocking(False)
        self._loop.open(self)

    def leave(self) -> None:
        """Close each connection behind the next answer on it."""
        self.draining = True

    def drain(self, done: Callable[[], None]) -> None:
        """Stop accepting, let what is in flight finish, close idle connections, then call ``done``."""
        self._loop.close(self)
        with self._lock:
            self.draining = True
            self._done = done
        self._loop.call(self._end)

    def entered(self, connection: Connection) -> None:
        """A connection of this door's."""
        with self._lock:
            self._connections.add(connection)

    def watch(self, connection: Connection, events: Events) -> None:
        """As :class:`penstock_scorer.http.connection.Keeper` says, and so the others."""
        self._loop.watch(connection.sock.fileno(), events)

    def resume(self, connection: Connection) -> None:  # noqa: D102
        self._loop.resume(connection)

    def hold(self, send: Callable[[], None]) -> bool:  # noqa: D102
        return self._loop.hold(send)

    def closing(self, connection: Connection) -> None:  # noqa: D102
        self._loop.leave(connection.sock.fileno(), connection)

    def closed(self, connection: Connection) -> None:  # noqa: D102
        with self._lock:
            self._connections.discard(connection)
        self._look()

    def switch(self, connection: Connection, received: bytes) -> None:  # noqa: D102
        if self._switch is None:
            connection.close()
            return
        self._loop.leave(connection.sock.fileno(), connection)
        sock = connection.give_away()
        self.closed(connection)
        self._switch(sock, received)

    def _end(self) -> None:
        for connection in list(self._connections):
            connection.end()
        self._look()

    def _look(self) -> None:
        done = None
        with self._lock:
            if self.draining and not self._connections:
                done, self._done = self._done, None
        if done is not None:
            done()
