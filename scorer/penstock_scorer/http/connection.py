"""One connection of HTTP/1.1: reads requests, one at a time, and sends their answers.

Reading is the polling thread's; an answer is sent by whoever has it. What they share is the socket's end: a lock keeps
either from using a descriptor that the other has closed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Protocol

from penstock_scorer.http import reply
from penstock_scorer.http.chunks import Chunks
from penstock_scorer.http.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers, Sink
    from penstock_scorer.http.request import Request

_READ_BYTES = 65536
_MOST_PIPELINED = 16
_MOST_AHEAD_BYTES = 1 << 20
"""Requests read ahead of the one that is being answered, and the bytes of their bodies; then reading stops."""
_FINAL = 200
"""The lowest status that ends an answer."""
_REFUSALS = {
    400: b'{"message": "This is not a request of HTTP/1.1."}',
    408: b'{"message": "The request did not arrive in time."}',
    414: b'{"message": "The address is too long."}',
    431: b'{"message": "The headers are too many or too large."}',
}
_CLOSE = ("connection", "close")
_KEEP = ("connection", "keep-alive")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Keeper(Protocol):
    """Who polls a connection."""

    def handle(self, request: Request) -> None:
        """A request is there, its body perhaps not yet. Must not block."""

    def too_large(self, request: Request, limit: int) -> None:
        """A request's body is larger than ``limit`` bytes."""

    def watch(self, connection: Connection, events: Events) -> None:
        """What to be told of from now on. May be called from any thread."""

    def resume(self, connection: Connection) -> None:
        """Have :meth:`Connection.proceed` called by the polling thread."""

    def hold(self, send: Callable[[], None]) -> bool:
        """Whether ``send`` will be called in a moment, by any thread, together with others."""

    def closing(self, connection: Connection) -> None:
        """It is about to be closed; its descriptor is its own still. May be called from any thread."""

    def closed(self, connection: Connection) -> None:
        """It is closed. May be called from any thread."""

    def switch(self, connection: Connection, received: bytes) -> None:
        """The client speaks HTTP/2."""

    draining: bool
    """Whether connections end with the answers under way."""
    limit: int
    """Bytes a body may have."""


class Events:
    """What a connection waits for."""

    __slots__ = ("read", "write")

    def __init__(self, *, read: bool, write: bool) -> None:
        self.read = read
        self.write = write


_EVENTS = {(read, write): Events(read=read, write=write) for read in (False, True) for write in (False, True)}


class Connection:
    """A client's connection.

    Args:
        sock: Accepted, non-blocking.
        keeper: Polls it, and takes its requests.
    """

    def __init__(self, sock: socket.socket, keeper: Keeper) -> None:
        self.sock = sock
        self.keeper = keeper
        self._ahead: list[Request] = []
        """Requests read, in order, whose turn has not come."""
        self._parser = Parser(self, self._ahead.append)
        self._lock = threading.Lock()
        self.open = True
        """Whether it has not been closed."""
        self._first: bytes | None = b""
        """The first bytes, as long as they may become HTTP/2's preface."""
        self._current: Request | None = None
        """Whose answer is awaited."""
        self._paused = False
        """Whether enough has been read ahead."""
        self._rest = memoryview(b"")
        """What the socket had no room for yet."""
        self._last = False
        """Whether to close behind the answer under way."""
        self.lingers = False
        """Whether the last answer is out, and the client may still be sending."""
        self._cut: Request | None = None
        """Whose answer will not come, if it is not out."""

    @property
    def waiting(self) -> bool:
        """Whether a request is on its way here."""
        if not self.open or (self._paused and not self.lingers):
            return False
        parser = self._parser
        return parser.begun or parser.reading is not None or self.lingers or bool(self._first)

    @property
    def progresses(self) -> bool:
        """Whether the head of a request is here, and its body comes."""
        return self._parser.reading is not None

    @property
    def stalled(self) -> bool:
        """Whether an answer waits for its client to read."""
        return self.open and bool(self._rest)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return self._current is None and not self._ahead and not self._parser.begun and not self._rest

    # ------------------------------------------------------------------ the polling thread

    def readable(self) -> None:
        """Read what there is."""
        try:
            received = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._ended()
            return
        if self.lingers or self._parser.broken:
            return
        if self._first is not None:
            received = self._first + received
            if PREFACE.startswith(received[: len(PREFACE)]):
                self._first = received
                if len(received) >= len(PREFACE):
                    self.keeper.switch(self, received)
                return
            self._first = None
        self._feed(received)

    def writable(self) -> None:
        """Send what the socket had no room for."""
        with self._lock:
            if not self.open or not self._rest:
                return
            try:
                self._rest = self._rest[self.sock.send(self._rest) :]
            except BlockingIOError:
                return
            except OSError:
                self._rest, self._last = memoryview(b""), True
            if self._rest:
                return
            self._await()
        self._answered()

    def proceed(self) -> None:
        """The answer is out: go on with what was read ahead."""
        if not self.open:
            # Requests refer back here: what is kept would have to wait for the garbage collector.
            self._parser.release()
            self._ahead.clear()
            self._current = self._cut = None
            return
        if self._cut is not None:
            cut, self._cut = self._cut, None
            if cut is self._current and not self._rest:
                self.close()
                return
        if self._current is not None or self.lingers or self._rest:
            return
        if self._ahead:
            self._current = request = self._ahead.pop(0)
            self.keeper.handle(request)
            if self._paused:
                self._pause()
        elif self._parser.refusal:
            self._refuse(self._parser.refusal)
        elif self._parser.broken or (self._last and not self._parser.begun):
            self._last = True
            self._leave()

    def expire(self) -> None:
        """What was to come, or to be read, has not been."""
        if self.lingers or self._first or self._rest:
            self.close()
        elif self._parser.reading is not None:
            self._ended()
        elif self._current is None and self._parser.begun:
            self._refuse(408)

    def end(self) -> None:
        """End with the answer under way; at once where there is none."""
        if self.idle and not self.lingers and self._parser.reading is None:
            # What has been sent by now was sent in good faith.
            self.readable()
        self._last = True
        if self.idle and not self.lingers:
            self._leave()

    # ------------------------------------------------------------------ any thread

    def respond(self, request: Request, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer; nothing where it has been sent, or its client has left."""
        if request is not self._current:
            return
        try:
            if self._closes(request, headers):
                headers = _with_close(headers)
            elif request.version == "1.0":
                headers = [*headers, _KEEP]
            head_only = request.method == "HEAD"
            # What a GET's answer would have been long is not known where there is none.
            length = "" if head_only and not body else reply.framing(status, len(body))
            if status < _FINAL:
                # The client would take it for the first of two answers.
                self._last = True
            sent = reply.head(status, headers, length)
            self.send_last(sent + body if length and not head_only else sent)
        except BaseException:
            # A script's interruption that strikes late: whatever of the answer is out, nothing may follow it.
            self.close()
            raise

    def stream(self, request: Request, status: int, headers: Headers, *, chunked: bool) -> Sink:
        """Start an answer in pieces."""
        if self._closes(request, headers) or not chunked:
            self._last = True
            headers = _with_close(headers)
        bodiless = reply.bodiless(status)
        framing = "transfer-encoding: chunked\r\n" if chunked and not bodiless else ""
        head = reply.head(status, headers, framing)
        return Chunks(self, head, chunked=chunked, bodiless=request.method == "HEAD" or bodiless)

    def interim(self, sent: bytes) -> None:
        """Send something before the answer; small, and lost where there is no room."""
        with self._lock, contextlib.suppress(OSError):
            if self.open and not self._rest and self.sock.send(sent) < len(sent):
                # Nothing can follow a half of it.
                self.sock.shutdown(socket.SHUT_RDWR)

    def try_send(self, piece: memoryview) -> memoryview | None:
        """Send what there is room for; the rest, or None: there is nobody."""
        with self._lock:
            if not self.open:
                return None
            try:
                return piece[self.sock.send(piece) :]
            except BlockingIOError:
                return piece
            except OSError:
                return None

    def send_last(self, sent: bytes) -> None:
        """Send the end of an answer, now or when there is room."""
        with self._lock:
            if not self.open:
                return
            try:
                count = self.sock.send(sent)
            except BlockingIOError:
                count = 0
            except OSError:
                count, self._last = len(sent), True
            whole = count == len(sent)
            if not whole:
                self._rest = memoryview(sent)[count:]
                self._await()
        # Not what is left by now: the polling thread may have sent it, and begun the next request.
        if whole:
            self._answered()
        else:
            self.keeper.resume(self)

    def finish(self, sent: bytes, *, whole: bool = True) -> None:
        """Send the end of an answer in pieces; a broken one ends with its connection."""
        self._last = self._last or not whole
        self.send_last(sent)

    def cut(self, request: Request) -> None:
        """Close it if the answer to this request is not out; what is held back goes out first."""
        self._cut = request
        self.keeper.resume(self)

    def close(self) -> None:
        """Close it, whatever is under way."""
        with self._lock:
            if not self.open:
                return
            self.open = False
            self.keeper.closing(self)
            with contextlib.suppress(OSError):
                # A child that the script has forked may hold the descriptor, too: the client is to see the end all
                # the same.
                self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()
        self.keeper.closed(self)
        current = self._current
        if current is not None:
            current.tell()
        # To let go of its requests and the parser, which only the polling thread may.
        self.keeper.resume(self)

    def give_away(self) -> socket.socket:
        """Its socket, which is another's from now on."""
        with self._lock:
            self.open = False
        self.keeper.resume(self)
        return self.sock

    # ------------------------------------------------------------------ helpers

    def _feed(self, received: bytes) -> None:
        self._parser.feed(received)
        if self._current is None:
            self.proceed()
        if self._ahead:
            self._pause()

    def _pause(self) -> None:
        """Stop reading, or go on, as much is read ahead."""
        ahead = self._ahead
        full = bool(ahead) and (
            len(ahead) >= _MOST_PIPELINED or sum(request.arrived_bytes for request in ahead) > _MOST_AHEAD_BYTES
        )
        if full is not self._paused:
            self._paused = full
            with self._lock:
                self._await()

    def _await(self) -> None:
        """Be told of what matters now. The lock is held."""
        if self.open:
            self.keeper.watch(self, _EVENTS[self.lingers or not self._paused, bool(self._rest)])

    def _refuse(self, status: int) -> None:
        self._last, self._parser.refusal, body = True, 0, _REFUSALS[status]
        headers = [("content-type", "application/json"), _CLOSE]
        self.send_last(reply.head(status, headers, reply.framing(status, len(body))) + body)

    def _closes(self, request: Request, headers: Headers) -> bool:
        if (
            not request.keep
            or self.keeper.draining
            or request.lost
            or (request.refused and not request.whole)
            or _CLOSE in headers
        ):
            self._last = True
        return self._last

    def _answered(self) -> None:
        if self._last:
            request = self._current
            if request is not None:
                request.unwatch()
            # Before another request may begin.
            self._leave(sending=request is None or not request.whole)
            self._current = None
            return
        self._current = None
        # Looked at again: whoever set it meanwhile has seen that there was an answer under way.
        if self._ahead or self._parser.broken or self._last:
            self.keeper.resume(self)

    def _leave(self, *, sending: bool = False) -> None:
        """Close; but a client that still sends must be able to read the answer first."""
        if sending or self._parser.broken or self._parser.reading is not None:
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        self.lingers = True
        with self._lock, contextlib.suppress(OSError):
            if self.open:
                self._await()
                self.sock.shutdown(socket.SHUT_WR)
        self.keeper.resume(self)

    def _ended(self) -> None:
        """The client has closed, or its half."""
        reading, self._parser.reading = self._parser.reading, None
        if reading is not None and reading is self._current and reading.lose():
            # It has been told, if it still listens.
            return
        self.close()


def _with_close(headers: Headers) -> Headers:
    return headers if _CLOSE in headers else [*headers, _CLOSE]
