"""gRPC on demand: a Unix socket that is there from the start, and loads grpcio when somebody calls.

Loaded at the start, grpcio, protobuf and numpy would double an instance's start-up and memory, for a protocol most
deployments are never called by (docs/decisions/scorer-grpc-on-demand.md). So a plain socket listens at the address.
The first byte that comes in rings: gRPC is loaded, listens beside the socket and is then renamed to its place, which
every later connection finds. Those that were already made are passed through to it, and told with the first answer, by
a GOAWAY, that new calls want a new connection: nothing fails, and nothing is passed through for long.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from penstock_scorer.supervision.worker import Transport

PRIVATE = "~"
"""A folder of this name, after the socket's, holds the new socket until it is renamed."""
_NEW = "s"
LONGEST_SUFFIX = len(f"{PRIVATE}/{_NEW}")
_PIECE = 1 << 16
_FRAME_HEAD, _FRAME_TYPE, _HEADERS = 9, 3, 1
_GO_AWAY = bytes.fromhex("0000080700000000007fffffff00000000")
"""HTTP/2 (RFC 9113, 6.8): open no more streams here; every one that is open will be answered."""

_log = logging.getLogger("penstock_scorer.grpc")


class Doorbell:
    """A :class:`~penstock_scorer.supervision.worker.Transport` that becomes another one when it is first used.

    Args:
        bell: Listens at ``path``; connections queue in it from before :meth:`start`.
        path: Where gRPC is served.
        load: Makes the transport that serves gRPC at an address, as gRPC spells it.
    """

    def __init__(self, bell: socket.socket, path: Path, load: Callable[[str], Transport]) -> None:
        self._bell = bell
        self._path = path
        self._load = load
        self._behind: Transport | None = None
        self._broken = False
        self._waiting: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._drained: Callable[[], None] | None = None
        self._started = False

    def start(self) -> None:
        """Wait for callers from now on, on a thread of its own."""
        self._started = True
        for source in (self._bell, self._wake):
            self._selector.register(source, selectors.EVENT_READ)
        _thread(self._attend)

    def leave(self) -> None:
        """HTTP/2 says by itself, when it drains, which calls it still answers."""

    def drain(self, done: Callable[[], None]) -> None:
        """Refuse new calls, let those in flight finish, then call ``done``."""
        self._drained = done
        if self._started:
            self._waker.send(b"\0")
        else:
            done()

    def _attend(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    self._close()
                    return
                if key.fileobj is self._bell:
                    self._answer(self._bell.accept()[0])
                elif isinstance(key.fileobj, socket.socket):
                    self._heard(key.fileobj)

    def _answer(self, caller: socket.socket) -> None:
        if self._broken:
            caller.close()
        elif self._behind is not None:
            self._pass_through(caller)
        else:
            # Who only looks whether somebody listens says nothing, and wakes nobody.
            self._waiting.append(caller)
            self._selector.register(caller, selectors.EVENT_READ)

    def _heard(self, caller: socket.socket) -> None:
        if caller not in self._waiting:
            return  # of the same moment as the one that rang
        with contextlib.suppress(OSError):
            if caller.recv(1, socket.MSG_PEEK):
                self._ring()
                return
        self._waiting.remove(caller)
        self._selector.unregister(caller)
        caller.close()

    def _ring(self) -> None:
        try:
            self._behind = self._take_over()
        except Exception:  # noqa: BLE001 - an import may raise anything; who serves HTTP goes on
            # Broken once is broken for good: trying at every call would take its time from those over HTTP.
            _log.exception("gRPC cannot be served")
            self._broken = True
        waiting, self._waiting = self._waiting, []
        for caller in waiting:
            self._selector.unregister(caller)
            self._answer(caller)

    def _take_over(self) -> Transport:
        private = self._path.with_name(self._path.name + PRIVATE)
        private.mkdir(mode=0o700, exist_ok=True)
        new = private / _NEW
        behind = self._load(f"unix:{new}")
        behind.start()
        new.chmod(0o600)  # in the folder nobody else could reach it
        new.rename(self._path)
        private.rmdir()
        return behind

    def _pass_through(self, caller: socket.socket) -> None:
        behind = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            behind.connect(str(self._path))
        except OSError:  # it is being drained
            behind.close()
            caller.close()
            return
        back = _thread(_forward, behind, caller, _send_away)
        _thread(_both, caller, behind, back)

    def _close(self) -> None:
        self._bell.close()
        for caller in self._waiting:
            caller.close()
        if self._drained is None:
            return
        if self._behind is not None:
            self._behind.drain(self._drained)
        else:
            self._drained()


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="scorer-doorbell", daemon=True)
    thread.start()
    return thread


def _both(caller: socket.socket, behind: socket.socket, back: threading.Thread) -> None:
    _forward(caller, behind)
    back.join()
    caller.close()
    behind.close()


def _forward(
    source: socket.socket, sink: socket.socket, begin: Callable[[socket.socket, socket.socket], None] | None = None
) -> None:
    """Everything from ``source`` to ``sink``, to its end."""
    with contextlib.suppress(OSError):
        if begin is not None:
            begin(source, sink)
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _send_away(source: socket.socket, sink: socket.socket) -> None:
    """Pass the server's frames on, and a GOAWAY before its first answer.

    Not earlier: grpcio's client takes one that comes before it has opened a stream for a server that hangs.
    """
    while head := source.recv(_FRAME_HEAD, socket.MSG_WAITALL):
        if head[_FRAME_TYPE] == _HEADERS:
            sink.sendall(_GO_AWAY + head)
            return
        size = int.from_bytes(head[:_FRAME_TYPE], "big")
        sink.sendall(head + (source.recv(size, socket.MSG_WAITALL) if size else b""))
