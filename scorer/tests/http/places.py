"""A loop with real sockets and a clock of the test's own, polled by the test itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from penstock_scorer.http.door import Door
from penstock_scorer.http.loop import Loop
from penstock_scorer.http.request import Request

from scorer.tests.http.wires import echo, statuses

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


class Place:
    """A listening socket, a loop, and clients."""

    def __init__(self, folder: str) -> None:
        self.now = 1000.0
        self.loop = Loop(lambda: self.now)
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = str(Path(folder) / "s")
        self.listener.bind(self.path)
        self.listener.listen(100)
        self.clients: list[socket.socket] = []
        self.switched: list[tuple[socket.socket, bytes]] = []
        self.handle: Callable[[Request], None] = echo
        self.door = self.open(self.loop)

    def open(self, loop: Loop) -> Door:
        door = Door(
            loop,
            self.listener,
            self._take,
            lambda request, limit: request.respond(413, [("connection", "close")], b""),
            10,
            lambda sock, received: self.switched.append((sock, received)),
        )
        door.start()
        return door

    def _take(self, request: Request) -> None:
        self.handle(request)

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.path)
        self.clients.append(client)
        if data:
            client.sendall(data)
        self.turn()
        return client

    def turn(self) -> None:
        for _ in range(5):
            self.loop.poll(0)

    @property
    def quiet(self) -> bool:
        """Whether the loop would sleep."""
        return not self.loop._epoll.poll(0) and not self.loop._calls

    def close(self) -> None:
        for connection in list(self.loop._connections.values()):
            connection.close()
        for client in [*self.clients, self.listener, *(sock for sock, _ in self.switched)]:
            client.close()


def answers(client: socket.socket) -> list[int]:
    return statuses(client.recv(65536))


def ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True
