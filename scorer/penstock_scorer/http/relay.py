"""HTTP/2 by prior knowledge on the socket of HTTP/1.1: such a connection is passed on to granian, byte by byte.

granian is loaded with the first of them: HTTP/1.1 needs nothing of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_scorer.supervision.sockets import bind_unix

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.http.front import Front
    from penstock_scorer.http.listener import Listener

_MOST = 256
"""Connections at once: each has a thread."""
_PIECE = 65536


class Relay:
    """Passes connections on (:class:`penstock_scorer.supervision.worker.Transport`).

    Args:
        front: Answers their requests, on granian's thread: not the one that answers HTTP/1.1's.
        limit: Bytes a body may have.
        streams: Answers in pieces at once.
    """

    def __init__(self, front: Front, limit: int, streams: int) -> None:
        self._front = front
        self._limit = limit
        self._streams = streams
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._path = ""
        self._room = threading.Semaphore(_MOST)

    def take(self, client: socket.socket, received: bytes) -> None:
        """A connection, and what was read of it. Returns at once."""
        if not self._room.acquire(blocking=False):
            client.close()
            return
        thread = threading.Thread(target=self._pass, args=(client, received), name="scorer-http2", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._room.release()
            client.close()

    def start(self) -> None:
        """There is nothing to start before the first connection."""

    def leave(self) -> None:
        """Have answers say that they are the last."""
        self._front.draining = True

    def drain(self, done: Callable[[], None]) -> None:
        """Let what is in flight finish, then call ``done``."""
        self.leave()
        with self._lock:
            listener = self._listener
        if listener is None:
            done()
        else:
            listener.drain(done)

    def _pass(self, client: socket.socket, received: bytes) -> None:
        try:
            with client, contextlib.suppress(OSError):
                client.setblocking(True)
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as granian:
                    granian.connect(self._address())
                    granian.sendall(received)
                    _copy(client, granian)
        finally:
            self._room.release()

    def _address(self) -> str:
        with self._lock:
            if self._listener is None:
                from penstock_scorer.http.listener import Listener  # noqa: PLC0415 - for HTTP/2 alone

                listening, self._path = _nameless()
                front = self._front
                self._listener = Listener(
                    listening, front, front.too_large, self._limit, streams=self._streams, http="2"
                )
                self._listener.start()
            return self._path


def _nameless() -> tuple[socket.socket, str]:
    """A listening socket, and a path to it that is this process' own: nothing is left behind, however it ends."""
    with tempfile.TemporaryDirectory(prefix="penstock-scorer-") as folder:
        path = Path(folder) / "http2"
        listening = bind_unix(path)
        listening.listen()
        return listening, f"/proc/self/fd/{os.open(path, os.O_PATH)}"


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until either has closed.

    Neither way waits for the other: a client may well not read before it has sent all it has.
    """
    ready = select.poll()
    rest = {one: memoryview(b""), other: memoryview(b"")}
    """What a socket has no room for yet; until then nothing more is read for it."""
    for sock in rest:
        sock.setblocking(False)
    while True:
        for sock, peer in ((one, other), (other, one)):
            # Where neither matters not even its end does, yet: poll would tell of it again and again.
            events = (select.POLLOUT if rest[sock] else 0) | (0 if rest[peer] else select.POLLIN)
            with contextlib.suppress(KeyError):
                ready.unregister(sock)
            if events:
                ready.register(sock, events)
        happened = dict(ready.poll())
        for sock, peer in ((one, other), (other, one)):
            if sock.fileno() not in happened:
                continue
            with contextlib.suppress(BlockingIOError):
                if rest[sock]:
                    rest[sock] = rest[sock][sock.send(rest[sock]) :]
            with contextlib.suppress(BlockingIOError):
                if not rest[peer]:
                    piece = sock.recv(_PIECE)
                    if not piece:
                        return
                    rest[peer] = memoryview(piece)
