"""From the bytes of one connection to its requests: llhttp takes them apart, what it lets through is judged here.

Limits of heads, heads that another server may read otherwise (request smuggling), and wishes to upgrade, which nothing
here grants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from penstock_scorer.http import familiar
from penstock_scorer.http.head import AmbiguousError, Head
from penstock_scorer.http.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.http.connection import Connection

_MOST_HEAD_BYTES = 65536
_MOST_TARGET_BYTES = 65534
_MOST_HEADERS = 128
_MOST_NAMES = 512
"""Names of headers that are remembered, each of at most so many bytes:"""
_LONGEST_NAME = 64
_names: dict[bytes, str] = {}
_MOST_STRANGE = 8
"""Whole requests in a row with unfamiliar heads; with one more, a connection's are not looked up any longer."""


class _TooLargeError(Exception):
    """The head of a request is; ``status`` says which part."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Parser:
    """Reads the requests of one connection.

    Args:
        connection: Whose they are.
        begin: Called with each request when its head is whole.
    """

    def __init__(self, connection: Connection, begin: Callable[[Request], None]) -> None:
        self._connection = connection
        self._begin = begin
        self._llhttp = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: Headers = []
        self._size = 0
        """Bytes of the headers so far."""
        self.begun = False
        """Whether a part of a request's head is here."""
        self.reading: Request | None = None
        """Whose body is being read."""
        self.broken = False
        """Whether what was read cannot be understood; nothing more is read."""
        self.refusal = 0
        """How to answer what cannot be understood; 0: not at all."""
        self._unheard = 0
        """Bytes read since llhttp had something to say, but for the piece in which it last did."""
        self._heard = False
        """Whether it has had, in this piece."""
        self._muted = False
        """Whether what it says is known already."""
        self._upgrades: Request | None = None
        """Whose client asks for another protocol."""
        self._fresh = True
        """Whether llhttp expects a request, and nothing of it is here."""
        self._strange = 0
        """Requests since one had a familiar head, of those that came whole."""
        self._head: Head | None = None
        """Of the request that came last."""

    def feed(self, received: bytes) -> None:
        """Go on with these bytes."""
        if not self._fresh or self._strange > _MOST_STRANGE or self._unheard:
            self._parse(received)
            return
        found = familiar.recognise(received)
        if found is not None:
            self._strange = 0
            self._begin(Request(self._connection, *found))
            return
        head = self._parse(received)
        if head is not None:
            self._strange += 1
            familiar.remember(received, head)

    def _parse(self, received: bytes) -> Head | None:
        """Have llhttp read it; the head of the last request in it, where it ends with a whole one."""
        self._head, self._heard, size = None, False, len(received)
        try:
            while received:
                try:
                    self._llhttp.feed_data(received)
                    break
                except httptools.HttpParserUpgrade as error:
                    received = received[error.args[0] :]
                if not self._decline():
                    break
        except httptools.HttpParserError as error:
            self._misunderstand(error)
        if not self._heard:
            self._unheard += size
            if self._unheard > _MOST_HEAD_BYTES + _MOST_TARGET_BYTES and not self.broken:
                self.broken, self.refusal = True, 431
        else:
            self._unheard = 0
        if self.broken and self.reading is not None:
            # It is told so itself, now or when it begins.
            reading, self.reading, self.refusal = self.reading, None, 0
            reading.lose()
        return self._head if self._fresh and not self.broken else None

    def release(self) -> None:
        """Nothing more is fed: let go of what refers back here, which would have to wait for the garbage collector."""
        self.broken = True
        self.reading = self._upgrades = None
        self._llhttp = self._connection = self._begin = None  # type: ignore[assignment] # nobody asks any more

    # ------------------------------------------------------------------ what llhttp says

    def on_message_begin(self) -> None:
        """A request begins."""
        self._fresh = False
        if self._muted:
            return
        self.begun = True
        self._target, self._fields, self._size = b"", [], 0

    def on_url(self, piece: bytes) -> None:
        """Its target, or a part of it."""
        if self._muted:
            return
        self._target += piece
        if len(self._target) > _MOST_TARGET_BYTES:
            raise _TooLargeError(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if self.reading is not None:
            return  # a trailer, or muted: nobody asks for those
        self._size += len(name) + len(value)
        fields = self._fields
        if self._size > _MOST_HEAD_BYTES or len(fields) >= _MOST_HEADERS:
            raise _TooLargeError(431)
        fields.append((_names.get(name) or _lower(name), value.strip().decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        if self._muted:
            return
        llhttp = self._llhttp
        method, version = llhttp.get_method().decode("latin-1"), llhttp.get_http_version()
        keep = llhttp.should_keep_alive()
        self._head = head = Head.judged(method, self._target, self._fields, version, keep=keep)
        request = Request(self._connection, head)
        if llhttp.should_upgrade():
            if method == "CONNECT":
                # What follows is not HTTP.
                request.keep = False
            else:
                self._upgrades = request
        self.begun = False
        self._heard = True
        self.reading = request
        self._begin(request)

    def on_body(self, piece: bytes) -> None:
        """Some of its body."""
        self._heard = True
        if self.reading is not None:
            self.reading.arrived(piece)

    def on_message_complete(self) -> None:
        """All of it is here."""
        if self._upgrades is not None:
            return  # llhttp takes what follows for the other protocol; it does not know that there is a body
        # Otherwise it is to see, and refuse, what follows.
        self._fresh = self._llhttp.should_keep_alive()
        self._heard = True
        request, self.reading = self.reading, None
        if request is not None:
            request.ended()

    # ------------------------------------------------------------------ helpers

    def _misunderstand(self, error: httptools.HttpParserError) -> None:
        """What was read is not a request; a fault of our own passes."""
        cause = error.__context__
        if isinstance(cause, _TooLargeError):
            self.broken, self.refusal = True, cause.status
        elif isinstance(error, httptools.HttpParserCallbackError) and not isinstance(cause, AmbiguousError):
            raise error
        else:
            self.broken, self.refusal = True, 400

    def _decline(self) -> bool:
        """Serve a request as if it had not asked for another protocol; whether anything may follow.

        llhttp would take what follows for the other protocol, so one that has not seen it asked reads the body.
        """
        request, self._upgrades = self._upgrades, None
        if request is None:
            self.broken = True  # CONNECT
            return False
        self._llhttp = httptools.HttpRequestParser(self)
        self._muted = True
        try:
            self._llhttp.feed_data(_unupgraded(request))
        finally:
            self._muted = False
        return True


def _lower(name: bytes) -> str:
    """The name of a header as everybody here knows it; the usual ones are remembered."""
    lower = name.decode("latin-1").lower()
    if len(name) <= _LONGEST_NAME and len(_names) < _MOST_NAMES:
        _names[name] = lower
    return lower


def _unupgraded(request: Request) -> bytes:
    """A head that says no more than how the request's body is framed, and whether another follows."""
    length, coding = request.header("content-length"), request.header("transfer-encoding")
    framing = f"content-length: {length}\r\n" if length is not None else ""
    framing += f"transfer-encoding: {coding}\r\n" if coding is not None else ""
    framing += "" if request.keep else "connection: close\r\n"
    return f"POST / HTTP/1.1\r\n{framing}\r\n".encode()
