"""A streamed answer's way to its client: a pipe, which granian reads as if it were a file to be served.

granian's own streams take whatever they are given, however slowly the client reads, and end every answer properly,
whatever happened to it. A file is read as fast as the client takes it, and one that cannot be read breaks its answer
off: over TCP, over Unix sockets, and one stream of HTTP/2 alone. So a full pipe holds the script back, and what a
stream can have in memory is bounded: 64 KiB in the pipe, 128 KiB in granian's reader, 400 KiB before the socket.

To break an answer off, granian's end of the pipe is made non-blocking: its next read of an empty pipe is an error.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK_MS = 200
"""How long a wait for room goes on without looking around; an interruption strikes between two of them."""
_FIRST_LOOK_S, _LAST_LOOK_S = 0.00005, 0.01
_WATCH_AFTER_S = 0.02
"""By then granian has opened the pipe, unless the client has left."""
_GIVE_UP_S = 30.0
_FLUSH_S = 0.05
"""From granian's reading the last piece to breaking the answer off."""
_WAKE = b"\n"
"""Ends a read that waits for the next piece. It may reach the client, as the last byte of an answer that broke."""


class Client(Protocol):
    """Whose answer it is."""

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone``, from any thread, when the client leaves."""

    def unwatch(self) -> None:
        """End :meth:`watch`."""


class Pipe:
    """One answer on its way (:class:`penstock_scorer.dataplane.job.Sink`).

    Args:
        respond: Answers with the content of the file at a path. Called with the first piece.
        client: Watched only where granian does not open the pipe soon.
    """

    def __init__(self, respond: Callable[[str], None], client: Client) -> None:
        self._respond: Callable[[str], None] | None = respond
        self._client = client
        self._left = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._room = select.poll()
        self._room.register(self._write, select.POLLOUT)
        _pipes.add(self)

    def send(self, piece: bytes) -> bool:
        """Send a piece, as soon as there is room for it; False when the client has left."""
        left = self._put(memoryview(piece))
        for seconds in self._opening():
            time.sleep(seconds)
        while left and not self._left:
            self._room.poll(_TICK_MS)
            left = self._put(left)
        return not self._left

    async def send_async(self, piece: bytes) -> bool:
        """As :meth:`send`, without holding up the event loop."""
        import asyncio  # noqa: PLC0415 - where it is needed

        left = self._put(memoryview(piece))
        for seconds in self._opening():
            await asyncio.sleep(seconds)
        loop = asyncio.get_running_loop()
        while left and not self._left:
            room = asyncio.Event()
            loop.add_writer(self._write, room.set)
            try:
                await room.wait()
            finally:
                loop.remove_writer(self._write)
            left = self._put(left)
        return not self._left

    def end(self) -> None:
        """The answer is whole, as soon as the client has read what is under way."""
        self._left = True
        for fd in (self._read, self._write):
            if fd >= 0:
                os.close(fd)
        self._read = self._write = -1

    def abort(self, last: bytes = b"") -> None:
        """Send ``last`` behind what is under way, then break the answer off. Returns at once."""
        threading.Thread(target=self._break, args=(last,), name="scorer-break", daemon=True).start()

    def _put(self, piece: memoryview) -> memoryview:
        """Write what there is room for; returns the rest."""
        try:
            return piece[os.write(self._write, piece) :]
        except BlockingIOError:
            return piece
        except OSError:
            # Nobody reads it any more; or this is a fork, and the answer its parent's.
            self._left = True
            return piece

    def _opening(self) -> Iterator[float]:
        """Have granian open the pipe, the first time; yields seconds to wait, until it has or the client has left."""
        if self._read < 0:
            return
        if self._respond is not None:
            self._respond(f"/proc/self/fd/{self._read}")
            self._respond = None
        waited, look, watched = 0.0, _FIRST_LOOK_S, False
        while not self._left and self._unread():
            yield look
            waited += look
            look = min(2 * look, _LAST_LOOK_S)
            if not watched and waited > _WATCH_AFTER_S:
                watched = True
                self._client.watch(self._gone)
            if waited > _GIVE_UP_S:
                self._left = True
        if watched:
            self._client.unwatch()
        # With no other reader than granian, its leaving is a broken pipe.
        os.close(self._read)
        self._read = -1

    def _gone(self) -> None:
        self._left = True

    def _unread(self) -> int:
        """Bytes in the pipe."""
        return int.from_bytes(fcntl.ioctl(self._write, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)

    def _break(self, last: bytes) -> None:
        try:
            self.send(last)
            self._room.modify(self._write, 0)  # broken pipes only
            while not self._left and self._unread() and not self._room.poll(0):
                time.sleep(_LAST_LOOK_S)
            time.sleep(_FLUSH_S)
            _refuse_reads(self._write)
            self._put(memoryview(_WAKE))
            while not self._left and not self._room.poll(_TICK_MS):
                pass
        finally:
            self.end()


def _refuse_reads(ours: int) -> None:
    """Make every other descriptor of this pipe fail instead of waiting."""
    pipe = os.fstat(ours)
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) == ours:
            continue
        try:
            # A duplicate: whatever granian opens or closes meanwhile, this one stays what it is.
            other = os.dup(int(entry.name))
        except OSError:
            continue
        try:
            if os.path.samestat(os.fstat(other), pipe):
                os.set_blocking(other, False)
        finally:
            os.close(other)


_pipes: weakref.WeakSet[Pipe] = weakref.WeakSet()


def _forget() -> None:
    """In a fork: its copies would keep answers open that their own process has ended."""
    for pipe in list(_pipes):
        pipe.end()


os.register_at_fork(after_in_child=_forget)
