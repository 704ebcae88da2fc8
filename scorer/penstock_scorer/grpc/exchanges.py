"""The dataplane's answers as gRPC carries them: one message, or a stream of them."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, NoReturn, Protocol

from penstock_scorer.dataplane import answers
from penstock_scorer.grpc import codec

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers, Sink
    from penstock_scorer.grpc.listener import Call
    from penstock_scorer.inference.task import Inference

OK = 200
LONGEST_ERROR = 1000
"""Characters of an error: it travels in headers, which clients limit to 8 KiB."""
_TICK_S = 0.2
"""How long a wait may go on without looking around: an interruption strikes between two of them."""


class Code(enum.IntEnum):
    """gRPC's status codes, as far as they are used."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16

    @classmethod
    def of(cls, status: int) -> Code:
        """The code for an HTTP status of the dataplane."""
        return _CODES.get(status, cls.INVALID_ARGUMENT if status < 500 else cls.INTERNAL)  # noqa: PLR2004


_CODES = {
    401: Code.UNAUTHENTICATED,
    404: Code.NOT_FOUND,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


class Log(Protocol):
    """Writes the access log's line of one answer; ``size`` is None where it is streamed."""

    def __call__(self, call: Call, began: float, status: int, headers: Headers, size: int | None) -> None:
        """Never raises."""


class Submit(Protocol):
    """Sets a stream's task and hands it to the dataplane."""

    def __call__(self, exchange: Streaming, message: bytes, received: float) -> None:
        """Returns at once."""


class _Exchange:
    """What an answer needs of a call, whatever its method."""

    def __init__(self, call: Call, log: Log) -> None:
        self._call = call
        self._log = log

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone``, on the listener's thread, when the caller goes."""
        self._call.watch(gone)

    def unwatch(self) -> None:
        """End :meth:`watch`."""
        self._call.watch(None)

    def hold(self, _send: Callable[[], None]) -> bool:
        """It is not: gRPC sends on threads of its own."""
        return False

    def cut(self) -> None:
        """There is nothing to do: gRPC has deadlines, and ends calls that nobody holds any more."""


class Unary(_Exchange):
    """The answer to ``ModelInfer``."""

    def __init__(self, call: Call, log: Log, received: float) -> None:
        super().__init__(call, log)
        self._received = received

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a result or an error."""
        metadata = [header for header in headers if not header[0].startswith("content-")]
        if status == OK:
            self._call.reply(body, metadata)
        else:
            self._call.end(Code.of(status), answers.message(body)[:LONGEST_ERROR], metadata)
        self._log(self._call, self._received, status, headers, len(body))

    def stream(self, status: int, headers: Headers) -> NoReturn:
        """Never called: its task does not stream."""
        raise NotImplementedError


class Streaming(_Exchange):
    """One ``ModelStreamInfer``: the next request is read when the last one has its answers.

    So answers are in order, a stream holds one place in the queue, and a client that sends faster than it is served,
    or reads more slowly, is held back by gRPC's flow control.

    Args:
        submit: The dataplane.
        clock: Seconds, monotonic.
    """

    def __init__(self, call: Call, log: Log, submit: Submit, clock: Callable[[], float]) -> None:
        super().__init__(call, log)
        self._submit = submit
        self._clock = clock
        self._message = b""
        self._received = 0.0
        self.task: Inference
        """The request that is being answered."""

    def next(self) -> None:
        """Wait for the next request."""
        self._call.read(self._arrived)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer one request with one message, or none where there is no body, then go on."""
        if status == OK and not body:
            self.finish()
        elif status == OK:
            self._call.send(codec.streamed(body, final=True if self._wants_end() else None), self.sent)
        else:
            self.fail(answers.message(body))
        self._log(self._call, self._received, status, headers, len(body))

    def stream(self, status: int, headers: Headers) -> Sink:
        """Answer one request with several messages."""
        self._log(self._call, self._received, status, headers, None)
        return _Pieces(self._call, self, tell_end=self._wants_end())

    def fail(self, message: str) -> None:
        """Tell the client that a request failed, then go on."""
        request_id = codec.request_id(self._message)
        self._call.send(codec.stream_error(message[:LONGEST_ERROR], request_id), self.sent)

    def finish(self) -> None:
        """Tell the client that a request has all its answers, where it asked to be told, then go on."""
        if self._wants_end():
            self._call.send(codec.stream_end(self.task.model, self.task.request), self.sent)
        else:
            self.next()

    def sent(self, success: bool) -> None:
        """The last message of an answer went out, or could not."""
        if success:
            self.next()

    def _arrived(self, message: bytes | None) -> None:
        if message is None:
            self._call.end()
            return
        self._message = message
        self._received = self._clock()
        self._submit(self, message, self._received)

    def _wants_end(self) -> bool:
        return codec.wants_end(self.task.request)


class _Pieces:
    """Several answers to one request (:class:`penstock_scorer.dataplane.job.Sink`), one on its way at a time."""

    def __init__(self, call: Call, stream: Streaming, *, tell_end: bool) -> None:
        self._call = call
        self._stream = stream
        self._final = False if tell_end else None
        self._lock = threading.Lock()
        self._free = threading.Event()
        self._free.set()
        self._failed = False
        self._then: Callable[[], None] | None = None
        """Called, on the listener's thread, when the piece that is on its way has gone out."""

    def send(self, piece: bytes) -> bool:
        """Send a piece, once the one before has gone out; False when the client has left."""
        while not self._free.wait(_TICK_S):
            pass
        return self._send(piece)

    async def send_async(self, piece: bytes) -> bool:
        """As :meth:`send`, without holding up the event loop."""
        if not self._free.is_set():
            from asyncio import get_running_loop  # noqa: PLC0415 - where it is needed

            loop = get_running_loop()
            gone_out: Future[None] = loop.create_future()
            self._after(lambda: _wake(loop, gone_out))
            await gone_out
        return self._send(piece)

    def end(self) -> None:
        """The request has all its answers."""
        self._after(self._stream.finish)

    def abort(self, last: bytes = b"") -> None:
        """The request failed."""
        self._after(lambda: self._stream.fail(answers.message(last)))

    def _send(self, piece: bytes) -> bool:
        if self._failed:
            return False
        self._free.clear()
        self._call.send(codec.streamed(piece, final=self._final), self._gone_out)
        return True

    def _after(self, then: Callable[[], None]) -> None:
        """Call ``then`` when nothing is on its way; not at all where the client has left before it could be."""
        with self._lock:
            if not self._free.is_set():
                self._then = then
                return
        then()

    def _gone_out(self, success: bool) -> None:
        with self._lock:
            self._failed = not success
            self._free.set()
            then, self._then = self._then, None
        if then is not None:
            then()


def _wake(loop: AbstractEventLoop, future: Future[None]) -> None:
    def wake() -> None:
        if not future.done():
            future.set_result(None)

    try:
        loop.call_soon_threadsafe(wake)
    except RuntimeError:
        # The loop has ended, and with it whoever waited.
        return
