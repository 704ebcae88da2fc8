"""An answer that goes out in pieces (:class:`penstock_scorer.dataplane.job.Sink`), each as soon as there is room."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol

from penstock_scorer.dataplane.forks import end_if_forked

if TYPE_CHECKING:
    import socket

_TICK_MS = 200
"""How long a wait for room goes on without looking around: the client may have left meanwhile."""
_END = b"0\r\n\r\n"


class Outlet(Protocol):
    """Where the bytes go."""

    sock: socket.socket

    def try_send(self, piece: memoryview) -> memoryview | None:
        """Send what there is room for; the rest, or None: there is nobody."""

    def finish(self, sent: bytes, *, whole: bool = True) -> None:
        """Send the end of an answer; a broken one ends with its connection."""


class Chunks:
    """One answer.

    Args:
        connection: Where it goes.
        head: What precedes the first piece.
        chunked: Whether pieces are written as chunks; else the answer ends with its connection.
        bodiless: Whether pieces are left out.
    """

    def __init__(self, connection: Outlet, head: bytes, *, chunked: bool, bodiless: bool) -> None:
        self._connection = connection
        self._head = head
        self._chunked = chunked
        self._bodiless = bodiless
        self._left = False
        self._midway = False
        """Whether a piece is out in part."""

    def send(self, piece: bytes) -> bool:
        """Send a piece, as soon as there is room for it; False when the client has left."""
        self._midway = True
        rest = self._put(self._framed(piece))
        while rest and not self._left:
            room = select.poll()
            descriptor = self._connection.sock.fileno()
            if descriptor >= 0:
                room.register(descriptor, select.POLLOUT)
                room.poll(_TICK_MS)
            rest = self._put(rest)
        self._midway = False
        return not self._left

    async def send_async(self, piece: bytes) -> bool:
        """As :meth:`send`, without holding up the event loop."""
        import asyncio  # noqa: PLC0415 - where it is needed

        self._midway = True
        rest = self._put(self._framed(piece))
        pause = 0.001
        while rest and not self._left:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)
            rest = self._put(rest)
        self._midway = False
        return not self._left

    def end(self) -> None:
        """The answer is whole."""
        end_if_forked()
        if not self._left:
            self._connection.finish(self._head + (_END if self._chunked and not self._bodiless else b""))

    def abort(self, last: bytes = b"") -> None:
        """Send ``last``, then break the answer off. Returns at once."""
        end_if_forked()
        if not self._left:
            told = bytes(self._framed(last)) if last and not self._midway else b""
            self._connection.finish(told or self._head, whole=False)

    def _framed(self, piece: bytes) -> memoryview:
        head, self._head = self._head, b""
        if self._bodiless or not piece:
            # An empty chunk would be the last one.
            return memoryview(head)
        return memoryview(b"%s%x\r\n%s\r\n" % (head, len(piece), piece) if self._chunked else head + piece)

    def _put(self, piece: memoryview) -> memoryview:
        rest = self._connection.try_send(piece)
        if rest is None:
            self._left = True
            return memoryview(b"")
        return rest
