"""One connection over a socket pair, polled by the test itself."""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from penstock_scorer.http.connection import Connection, Events
from penstock_scorer.http.request import Request

DATE = re.compile(rb"date: [^\r]*\r\n")
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /score HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


class Wire:
    """A client's end, and the keeper of the other.

    Args:
        handle: Takes each request; None: its body, or what is wrong with it, is echoed.
        limit: Bytes a body may have.
        room: Bytes the socket has room for, about.
    """

    def __init__(
        self, handle: Callable[[Request], None] | None = None, *, limit: int = 1000, room: int | None = None
    ) -> None:
        ours, self.client = socket.socketpair()
        for end in (ours, self.client):
            end.setblocking(False)
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.draining = False
        self.limit = limit
        self.requests: list[Request] = []
        self.events = Events(read=True, write=False)
        self.told_closed = 0
        self.switched: bytes | None = None
        self._handle = handle or echo
        self._resumed: deque[Connection] = deque()
        self.connection = Connection(ours, self)

    def handle(self, request: Request) -> None:
        self.requests.append(request)
        self._handle(request)

    def too_large(self, request: Request, limit: int) -> None:
        request.respond(413, [("connection", "close")], b"%d" % limit)

    def watch(self, connection: Connection, events: Events) -> None:
        assert connection is self.connection
        self.events = events

    def resume(self, connection: Connection) -> None:
        self._resumed.append(connection)

    def hold(self, send: Callable[[], None]) -> bool:
        return False

    def closing(self, connection: Connection) -> None:
        assert connection.sock.fileno() >= 0

    def closed(self, connection: Connection) -> None:
        self.told_closed += 1

    def switch(self, connection: Connection, received: bytes) -> None:
        self.switched = received
        connection.close()

    def send(self, data: bytes) -> None:
        """Send, and have it read."""
        if not self.connection.open:
            return
        self.client.sendall(data)
        self.turn()

    def turn(self) -> None:
        """One turn of the loop, with everything that is ready."""
        if self.connection.open and self.events.read:
            self.connection.readable()
        if self.connection.open and self.events.write:
            self.connection.writable()
        while self._resumed:
            self._resumed.popleft().proceed()

    def received(self) -> bytes:
        """What the client can read now."""
        found = b""
        while True:
            try:
                piece = self.client.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                return found
            if not piece:
                return found
            found += piece

    @property
    def ended(self) -> bool:
        """Whether the client sees the end, once it has read everything."""
        self.received()
        try:
            return self.client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.connection.close()
        self.client.close()


def echo(request: Request) -> None:
    def done(body: bytes | None) -> None:
        request.respond(400 if body is None else 200, [], b"incomplete" if body is None else body)

    request.read(done)


def statuses(answers: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def seen(request: Request) -> tuple[Any, ...]:
    return request.method, request.path, request.query, request.version, request.headers()


class Held:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.held: list[tuple[Request, bytes | None]] = []

    def __call__(self, request: Request) -> None:
        request.read(lambda body: self.held.append((request, body)))

    def answer(self) -> None:
        request, body = self.held.pop(0)
        request.respond(400 if body is None else 200, [], b"incomplete" if body is None else body)
