"""``inference.GRPCInferenceService``: the methods, and what becomes of their answers.

Called on the listener's thread, so it must not block: health and metadata are answered at once, inferences are handed
to the dataplane, the same one HTTP uses, with the same queue, limits, credentials and counters.
"""

from __future__ import annotations

import enum
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Headers, Job, Sink
from penstock_scorer.grpc import codec
from penstock_scorer.grpc.generated import inference_pb2 as pb
from penstock_scorer.http.ids import IdTooLongError, response_headers
from penstock_scorer.inference.model import SERVER
from penstock_scorer.inference.task import Inference
from penstock_scorer.telemetry.metrics import ErrorKind, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from penstock_scorer.auth.guard import Guard
    from penstock_scorer.grpc.listener import Call
    from penstock_scorer.inference.served import Served

_log = logging.getLogger("penstock_scorer.grpc")
_SERVICE = "/inference.GRPCInferenceService/"
_LONGEST_ERROR = 1000
"""Characters of an error: it travels in headers, which clients limit to 8 KiB."""
_UNAUTHORIZED = "A valid credential is required: metadata authorization: Bearer KEY."
_OPEN = ("ServerLive", "ServerReady")
_OK = 200


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


class Service:
    """Answers every call.

    Args:
        served: The model and the script's function.
        submit: The dataplane.
        lane: The counters of the listener's thread.
        guard: Who may call; its own, as guards belong to one thread. None lets everybody.
        common: Metadata of every answer.
        clock: Seconds, monotonic, that of ``Job.received``.
    """

    def __init__(
        self,
        served: Served,
        submit: Callable[[Job], None],
        lane: Lane,
        guard: Guard | None = None,
        *,
        common: Headers | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._served = served
        self._model = served.model
        self._submit = submit
        self._lane = lane
        self._guard = guard
        self._common = common or []
        self._clock = clock
        self._simple: dict[str, tuple[type[Message], Callable[[Any], Message]]] = {
            "ServerLive": (pb.ServerLiveRequest, lambda _: pb.ServerLiveResponse(live=True)),
            "ServerReady": (pb.ServerReadyRequest, lambda _: pb.ServerReadyResponse(ready=True)),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest, lambda _: pb.ServerMetadataResponse(**SERVER)),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
        }

    def __call__(self, call: Call) -> None:
        """Answer one call. Never raises."""
        try:
            self._route(call)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("A fault in the scorer")
            self._lane.failed(ErrorKind.INTERNAL)
            call.end(Code.INTERNAL, answers.INTERNAL)

    def _route(self, call: Call) -> None:
        received = self._clock()
        method = call.method.removeprefix(_SERVICE)
        guard = self._guard
        if guard is not None and method not in _OPEN and guard.client(call.metadata.get("authorization")) is None:
            self._refuse(call, ErrorKind.UNAUTHORIZED, 401, _UNAUTHORIZED, received)
            return
        try:
            tail = response_headers(call.metadata.get, self._common)
        except IdTooLongError as error:
            self._refuse(call, ErrorKind.BAD_INPUT, 431, str(error), received)
            return
        if method == "ModelInfer":
            call.read(partial(self._infer, call, tail, received))
        elif method == "ModelStreamInfer":
            _Stream(self, call, tail).next()
        elif method in self._simple:
            kind, answer = self._simple[method]

            def answer_to(message: bytes | None) -> None:
                if message is not None:
                    self._answer(call, tail, received, lambda: answer(kind.FromString(message)))

            call.read(answer_to)
        else:
            self._refuse(call, ErrorKind.BAD_INPUT, 501, "There is no such method.", received)

    def _answer(self, call: Call, tail: Headers, received: float, answer: Callable[[], Message]) -> None:
        try:
            reply = answer().SerializeToString()
        except DecodeError:
            self._refuse(call, ErrorKind.BAD_INPUT, 400, f"The message is not one of {call.method}.", received)
        except BadInputError as error:
            self._refuse(call, ErrorKind.BAD_INPUT, error.status, str(error), received)
        else:
            self._lane.answered(_OK, self._clock() - received)
            call.reply(reply, tail)

    def _infer(self, call: Call, tail: Headers, received: float, message: bytes | None) -> None:
        if message is None:
            self._lane.failed(ErrorKind.DISCONNECTED)
            return
        self.submit(call, message, _Unary(call), tail, received)

    def submit(self, call: Call, message: bytes, exchange: _Unary | _Stream, tail: Headers, received: float) -> None:
        """Hand one inference to the dataplane."""
        remaining = call.remaining()
        deadline = None if remaining is None else self._clock() + remaining
        job = Job(exchange, "POST", call.method, "", "application/grpc", call.headers, tail, received, deadline)
        parse = partial(codec.parse, self._model, message)
        encode = partial(codec.encode, self._model)
        job.task = task = Inference(self._served, parse, encode, call.headers)
        job.encode = task.encode
        job.lane = self._lane

        def gone() -> None:
            # Should it go before the dataplane watches it, its turn will come, and be dropped and counted.
            job.deadline = received

        call.on_close = gone
        if call.closed:
            gone()
        self._submit(job)

    def now(self) -> float:
        """The time, on the dataplane's clock."""
        return self._clock()

    def _model_ready(self, request: pb.ModelReadyRequest) -> Message:
        try:
            self._model.check(request.name, request.version)
        except BadInputError:
            # As Triton answers: a model that is not there is not ready.
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> Message:
        self._model.check(request.name, request.version)
        return pb.ModelMetadataResponse(**self._model.metadata())

    def _refuse(self, call: Call, kind: ErrorKind, status: int, message: str, received: float) -> None:
        self._lane.failed(kind)
        self._lane.answered(status, self._clock() - received)
        call.end(Code.of(status), message[:_LONGEST_ERROR])


class _Exchange:
    """What an answer needs of a call, whatever its method."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def stream(self, status: int, headers: Headers) -> Sink:
        """Never called: a task answers with one piece."""
        raise NotImplementedError

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone``, on the listener's thread, when the caller goes."""
        self._call.watch(gone)

    def unwatch(self) -> None:
        """End :meth:`watch`."""
        self._call.watch(None)


class _Unary(_Exchange):
    """Sends the dataplane's answer to ``ModelInfer``."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        metadata = [header for header in headers if not header[0].startswith("content-")]
        if status == _OK:
            self._call.reply(body, metadata)
        else:
            self._call.end(Code.of(status), answers.message(body)[:_LONGEST_ERROR], metadata)


class _Stream(_Exchange):
    """One ``ModelStreamInfer``: the next request is read when the last one has its answer.

    So answers are in order, a stream holds one place in the queue, and a client that sends faster than it is served
    is held back by gRPC's flow control.
    """

    def __init__(self, service: Service, call: Call, tail: Headers) -> None:
        super().__init__(call)
        self._service = service
        self._tail = tail
        self._message = b""

    def next(self) -> None:
        """Wait for the next request."""
        self._call.read(self._arrived)

    def respond(self, status: int, _headers: Headers, body: bytes) -> None:
        """Answer one request, then go on."""
        if status == _OK:
            message = codec.streamed(body)
        else:
            message = codec.stream_error(answers.message(body)[:_LONGEST_ERROR], codec.request_id(self._message))
        self._call.send(message, self._sent)

    def _arrived(self, message: bytes | None) -> None:
        if message is None:
            self._call.end()
            return
        self._message = message
        self._service.submit(self._call, message, self, self._tail, self._service.now())

    def _sent(self, success: bool) -> None:
        if success:
            self.next()
