"""One request of HTTP/1.1 (:class:`penstock_scorer.http.front.Incoming`), and its body as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_scorer.http import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers, Sink
    from penstock_scorer.http.connection import Connection
    from penstock_scorer.http.head import Head

_MOST_PIECES = 4096
"""Pieces of a body kept apart: small ones would take far more memory than they hold."""
_LONGEST_LENGTH = 20
"""Digits of the longest length that the parser lets through, but for zeros before it."""


class Request:
    """One request.

    Args:
        connection: Where it came by, and where its answer goes.
        head: What it asks for.
        body: All of it, where it has been read already.
    """

    __slots__ = (
        "_body", "_connection", "_done", "_gone", "arrived_bytes", "fields", "header", "keep", "lost", "method", "path",
        "query", "refused", "version", "whole",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: Head, body: bytes | None = None) -> None:
        self._connection = connection
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.fields = head.fields
        self.header: Callable[..., Any] = head.first.get
        self.version = head.version
        self.keep = head.keep
        self._body: list[bytes | bytearray] = [body] if body else []
        self.arrived_bytes = len(body) if body else 0
        self._gone: Callable[[], None] | None = None
        self._done: Callable[[bytes | None], None] | None = None
        self.whole = body is not None
        """Whether all of its body has been read."""
        self.refused = False
        """Whether its body is of no interest."""
        self.lost = False
        """Whether its body will never be whole."""

    def headers(self) -> Headers:
        """Every header, names in lower case."""
        return self.fields

    def read(self, done: Callable[[bytes | None], None]) -> None:
        """Call ``done`` with the body once it is whole, with None if it never will be; not with one too large."""
        limit = self._connection.keeper.limit
        if self.whole and self.arrived_bytes <= limit:
            done(self._joined())
            return
        length = self.header("content-length")
        if (length is not None and int(length[-_LONGEST_LENGTH:]) > limit) or self.arrived_bytes > limit:
            self._exceed(limit)
        elif self.lost:
            self.refused = True
            done(None)
        else:
            self._done = done
            expects = self.version != "1.0" and self.header("expect", "").lower() == "100-continue"
            if expects and not self.arrived_bytes:
                self._connection.interim(reply.CONTINUE)

    def reject(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer; the body will not be read."""
        self.refused = True
        self.respond(status, headers, body)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self._connection.respond(self, status, headers, body)

    def stream(self, status: int, headers: Headers) -> Sink:
        """Start an answer of unknown length."""
        return self._connection.stream(self, status, headers, chunked=self.version != "1.0")

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the connection ends, or has ended, before this request has its answer."""
        self._gone = gone
        if not self._connection.open:
            self.tell()

    def unwatch(self) -> None:
        """End :meth:`watch`."""
        self._gone = None

    def hold(self, send: Callable[[], None]) -> bool:
        """Whether ``send`` will be called in a moment, by any thread, together with others."""
        return self._connection.keeper.hold(send)

    def cut(self) -> None:
        """End the connection if the answer has not gone out."""
        self._connection.cut(self)

    def tell(self) -> None:
        """The connection has ended."""
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    def arrived(self, piece: bytes) -> None:
        """More of the body. On the polling thread, as all that follows."""
        self.arrived_bytes += len(piece)
        limit = self._connection.keeper.limit
        if self.refused:
            return
        body = self._body
        if self.arrived_bytes <= limit:
            if len(body) < _MOST_PIECES:
                body.append(piece)
            elif type(body[-1]) is bytearray:
                body[-1] += piece
            else:
                body[-1] = bytearray(body[-1] + piece)
        elif self._done is not None:
            self._exceed(limit)

    def ended(self) -> None:
        """The body is whole."""
        self.whole = True
        done, self._done = self._done, None
        if done is not None:
            done(self._joined())

    def lose(self) -> bool:
        """The body will never be whole; whether that has been answered."""
        self.lost = True
        done, self._done = self._done, None
        if done is None:
            return False
        self.refused = True
        done(None)
        return True

    def _joined(self) -> bytes:
        first = self._body[0] if len(self._body) == 1 else None
        return first if type(first) is bytes else b"".join(self._body)

    def _exceed(self, limit: int) -> None:
        self._done = None
        self.refused = True
        self._body.clear()
        self._connection.keeper.too_large(self, limit)
