"""granian's HTTP worker, without an event loop. The only file that touches granian.

granian's own RSGI interface schedules a coroutine on an asyncio loop for every request; for a blocking
``run`` that costs more than HTTP itself (docs/decisions/scorer-rsgi-or-wsgi.md). Its worker only asks two
things of Python: a ``CallbackScheduler`` that is told of each request, and an object that stands for the loop
and is told when a body has arrived. Both are answered here by plain calls on granian's one Python thread.

These are granian's internals, hence the pin to one minor version in pyproject.toml and the tests that run the
real server on every interpreter.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from granian.http import HTTP1Settings, HTTP2Settings

from penstock_scorer.http.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.supervision.tls import TlsFiles

# Its type stubs describe other signatures than the compiled module has.
_granian: Any = importlib.import_module("granian._granian")
_log = logging.getLogger("penstock_scorer.http")
_MAX_CONNECTIONS = 16384
_DROPPED_BYTES = 65536
_SPARE_THREADS = 2


class Request:
    """One request on granian's hands (:class:`penstock_scorer.http.front.Incoming`)."""

    __slots__ = (
        "_last", "_leaving", "_limit", "_protocol", "_scope", "_too_large", "header", "items", "method", "path",
        "query", "respond",
    )  # fmt: skip

    def __init__(
        self, scope: Any, protocol: Any, too_large: Callable[[Request, int], None], limit: int, *, last: bool = False
    ) -> None:
        """``last``: of its connection, which is closed behind the answer."""
        self._leaving: Any = None
        self._too_large = too_large
        self._limit = limit
        self._scope = scope
        self._protocol = protocol
        headers = scope.headers  # a copy of the whole map: taken once
        self.header = headers.get
        self.items = headers.items
        self.method: str = scope.method
        self.path: str = scope.path
        self.query: str = scope.query_string
        self.respond = partial(_respond_last, protocol.response_bytes) if last else protocol.response_bytes
        self._last = last

    def headers(self) -> Headers:
        """Every header, names in lower case."""
        return list(self.items())

    def read(self, done: Callable[[bytes | None], None]) -> None:
        """Call ``done`` with the body once it is whole, on granian's Python thread; never with one too large."""
        length = self.header("content-length")
        if length is None and (self.header("transfer-encoding") is not None or self._scope.http_version == "2"):
            _Chunks(self, self._protocol.__aiter__(), self._limit, done).next()
        elif length is not None and int(length) > self._limit:
            self._too_large(self, self._limit)
        else:
            self._protocol().add_done_callback(_Arrival(done))

    def reject(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer though the body was not asked for.

        A small body is awaited and dropped: a client that is still sending it when the connection closes sees that it
        broke, and no answer.
        """
        length = self.header("content-length")
        if length is not None and 0 < int(length) <= _DROPPED_BYTES:
            self._protocol().add_done_callback(lambda _: self.respond(status, headers, body))
        else:
            self.respond(status, headers, body)

    def exceed(self) -> None:
        """Answer that the body is too large."""
        self._too_large(self, self._limit)

    @property
    def framed(self) -> bool:
        """Whether an empty chunk can be part of a whole body: a frame of HTTP/2 may be empty."""
        return bool(self._scope.http_version == "2")

    def stream(self, status: int, headers: Headers) -> Pipe:
        """Start an answer of unknown length."""
        headers = _closing(headers) if self._last else headers
        return Pipe(partial(self._protocol.response_file, status, headers), self)

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone``, on granian's Python thread, when the connection ends, or has ended.

        Over HTTP/2 that is when the whole connection ends, not the one stream.
        """
        self.unwatch()
        self._leaving = leaving = self._protocol.client_disconnect()

        def over(future: Any) -> None:
            if self._leaving is leaving:
                self._leaving = None
            if not future.cancelled():
                gone()

        leaving.add_done_callback(over)

    def unwatch(self) -> None:
        """End :meth:`watch`: only one who watches is told, and the next request on the connection may be it."""
        # Not kept: a future that refers back to this request would never be collected, granian's take no part in that.
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.cancel()

    def hold(self, _send: Callable[[], None]) -> bool:
        """It is not: granian sends on threads of its own."""
        return False

    def cut(self) -> None:
        """There is nothing to do: granian ends what nobody holds any more."""


class Listener:
    """Serves one listening socket.

    Args:
        listener: Bound; granian makes it listen. It stays the caller's to close.
        handle: Called for each request on granian's Python thread; must not block or raise.
        too_large: Called, likewise, to answer a request whose body is larger than ``limit`` bytes.
        limit: Bytes a body may have.
        streams: Answers in pieces at once; each holds one of granian's threads while it waits for its next piece.
        http: ``auto`` (HTTP/1.1 and HTTP/2 by prior knowledge), ``1`` or ``2``.
        tls: Files that were checked; none for plain HTTP.
    """

    def __init__(
        self,
        listener: socket.socket,
        handle: Callable[[Request], None],
        too_large: Callable[[Request, int], None],
        limit: int,
        *,
        streams: int = 0,
        http: str = "auto",
        tls: TlsFiles | None = None,
    ) -> None:
        uds = listener.family == socket.AF_UNIX
        # granian closes the descriptor it is given when it goes. `socket.dup()` would make all that share the socket
        # block in `accept` until granian starts.
        holder = _granian.SocketHolder(os.dup(listener.fileno()), uds, 2048)
        self._signal = _granian.WorkerSignal()
        loop = _NoLoop()
        secure: tuple[Any, ...] = (False, None, None, None, "tls1.3", None, [], False)
        if tls is not None:
            secure = (True, str(tls.cert), str(tls.key), None, "tls1.3", str(tls.client_ca), [], True)
        worker = _granian.RSGIWorker(
            1, (None, holder), None, 1, streams + _SPARE_THREADS, 1, 30, _MAX_CONNECTIONS, http, HTTP1Settings(),
            HTTP2Settings(), False, None, *secure, (None, None),
        )  # fmt: skip
        serve = worker.serve_str_uds if uds else worker.serve_str
        self._scheduler: Any = _Scheduler(loop, handle, too_large, limit)
        self._serve = partial(serve, self._scheduler, loop, self._signal)

    def start(self) -> None:
        """Accept connections from now on, on granian's threads; returns at once."""
        self._serve()

    def leave(self) -> None:
        """Close each connection behind the next answer on it."""
        self._scheduler.leaving = True

    def drain(self, done: Callable[[], None]) -> None:
        """Stop accepting, let what is in flight finish, close idle connections, then call ``done``."""
        self._signal.add_cb(done)
        self._signal.set()


class _Scheduler(_granian.CallbackScheduler):  # type: ignore[misc]
    """Told by granian of each request."""

    def __new__(cls, loop: Any, *_: Any) -> Any:
        return super().__new__(cls, loop, None, None, None, None)

    def __init__(
        self,
        _loop: Any,
        handle: Callable[[Request], None],
        too_large: Callable[[Request, int], None],
        limit: int,
    ) -> None:
        self.leaving = False

        def schedule(watcher: Any) -> None:
            try:
                handle(Request(watcher.scope, watcher.proto, too_large, limit, last=self.leaving))
            except BaseException:  # noqa: BLE001 - granian would go on with the error set
                _log.exception("A fault in the scorer")

        self._schedule_fn = schedule


def _respond_last(respond: Callable[..., None], status: int, headers: Headers, body: bytes) -> None:
    respond(status, _closing(headers), body)


def _closing(headers: Headers) -> Headers:
    return headers if ("connection", "close") in headers else [*headers, ("connection", "close")]


class _NoLoop:
    """Stands where granian expects an event loop: what is ready is called where it became ready."""

    def call_soon_threadsafe(self, callback: Callable[..., None], *arguments: Any, context: Any = None) -> None:  # noqa: ARG002
        try:
            callback(*arguments)
        except BaseException:  # noqa: BLE001 - as in _Scheduler
            _log.exception("A fault in the scorer")

    call_soon = call_soon_threadsafe


class _Arrival:
    """Passes a body on."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[bytes | None], None]) -> None:
        self._done = done

    def __call__(self, future: Any) -> None:
        try:
            body = future.result()
        except Exception:  # noqa: BLE001 - whatever granian raises, the body will not come
            body = None
        self._done(body)


class _Chunks:
    """Gathers a body whose length nobody announced, so that it can be refused before all of it is in memory.

    granian reports the end of such a body, and its breaking off, as an empty chunk. After the end there is nothing
    to ask for; after a break there is one more empty chunk. HTTP/2 has empty frames of its own, and resets.
    """

    __slots__ = ("_broken", "_chunks", "_done", "_room", "_source", "_transport")

    def __init__(self, transport: Request, source: Any, room: int, done: Callable[[bytes | None], None]) -> None:
        self._transport = transport
        self._source = source
        self._room = room
        self._done = done
        self._chunks: list[bytes] = []
        self._broken = False

    def next(self) -> None:
        """Ask for a chunk."""
        try:
            self._source.__anext__().add_done_callback(self)
        except StopAsyncIteration:
            self._done(b"".join(self._chunks))

    def __call__(self, future: Any) -> None:
        chunk: bytes = future.result()
        self._room -= len(chunk)
        if self._room < 0:
            self._chunks.clear()
            self._transport.exceed()
        elif self._broken and not self._transport.framed:
            self._done(None)
        else:
            self._broken = not chunk
            self._chunks.append(chunk)
            self.next()
