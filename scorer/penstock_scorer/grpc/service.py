"""``inference.GRPCInferenceService``: the methods, and what becomes of their answers.

Called on the listener's thread, so it must not block: health and metadata are answered at once, inferences are handed
to the dataplane, the same one HTTP uses, with the same queue, limits, credentials and counters.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.grpc import codec
from penstock_scorer.grpc.exchanges import LONGEST_ERROR, OK, Code, Streaming, Unary
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
    from penstock_scorer.inference.messages import InferRequest, Output
    from penstock_scorer.inference.served import Served
    from penstock_scorer.telemetry.access import AccessLog

_log = logging.getLogger("penstock_scorer.grpc")
_SERVICE = "/inference.GRPCInferenceService/"
_UNAUTHORIZED = "A valid credential is required: metadata authorization: Bearer KEY."
_NO_MESSAGE = "The call has no message."
_OPEN = ("ServerLive", "ServerReady")


class Service:
    """Answers every call.

    Args:
        served: The model and the script's function.
        submit: The dataplane.
        lane: The counters of the listener's thread.
        guard: Who may call; its own, as guards belong to one thread. None lets everybody.
        common: Metadata of every answer.
        access: The access log, if any.
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
        access: AccessLog | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._served = served
        self._model = served.model
        self._submit = submit
        self._lane = lane
        self._guard = guard
        self._common = common or []
        self._access = access
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

    def log(self, call: Call, began: float, status: int, headers: Headers, size: int | None) -> None:
        """Write the access log's line of one answer."""
        if self._access is not None:
            self._access.answered(_Seen(call), began, status, headers, size)

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
            self._refuse(call, ErrorKind.BAD_INPUT, 431, str(error), received, error.headers)
            return
        if method == "ModelInfer":
            call.read(partial(self._infer, call, tail, received))
        elif method == "ModelStreamInfer":
            Streaming(call, self.log, partial(self._submit_streamed, call, tail), self._clock).next()
        elif method in self._simple:
            call.read(partial(self._answer, call, tail, received, *self._simple[method]))
        else:
            self._refuse(call, ErrorKind.BAD_INPUT, 501, "There is no such method.", received, tail)

    def _answer(  # noqa: PLR0917 - bound once, in _route
        self,
        call: Call,
        tail: Headers,
        received: float,
        kind: type[Message],
        answer: Callable[[Any], Message],
        message: bytes | None,
    ) -> None:
        if message is None:
            self._refuse(call, ErrorKind.DISCONNECTED, 400, _NO_MESSAGE, received, tail)
            return
        try:
            reply = answer(kind.FromString(message)).SerializeToString()
        except DecodeError:
            self._refuse(call, ErrorKind.BAD_INPUT, 400, f"The message is not one of {call.method}.", received, tail)
        except BadInputError as error:
            self._refuse(call, ErrorKind.BAD_INPUT, error.status, str(error), received, tail)
        else:
            self._lane.answered(OK, self._clock() - received)
            call.reply(reply, tail)
            self.log(call, received, OK, tail, len(reply))

    def _infer(self, call: Call, tail: Headers, received: float, message: bytes | None) -> None:
        if message is None:
            # It has left, or half-closed without a word: then it waits for an answer.
            self._refuse(call, ErrorKind.DISCONNECTED, 400, _NO_MESSAGE, received, tail)
            return
        task = self._task(call, message)
        self._hand_over(call, task, Unary(call, self.log, received), tail, received)

    def _submit_streamed(self, call: Call, tail: Headers, exchange: Streaming, message: bytes, received: float) -> None:
        exchange.task = task = self._task(call, message, streams=True)
        self._hand_over(call, task, exchange, tail, received)

    def _task(self, call: Call, message: bytes, *, streams: bool = False) -> Inference:
        return _GrpcInference(self._served, message, call.headers, streams=streams)

    def _hand_over(
        self, call: Call, task: Inference, exchange: Unary | Streaming, tail: Headers, received: float
    ) -> None:
        remaining = call.remaining()
        deadline = None if remaining is None else self._clock() + remaining
        job = Job(exchange, "POST", call.method, "", "application/grpc", call.headers, tail, received, deadline)
        job.task = task
        job.encode = task.encode
        job.lane = self._lane

        def gone() -> None:
            # Should it go before the dataplane watches it, its turn will come, and be dropped and counted.
            job.deadline = received

        call.on_close = gone
        if call.closed:
            gone()
        self._submit(job)

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

    def _refuse(  # noqa: PLR0917 - what every refusal has
        self, call: Call, kind: ErrorKind, status: int, message: str, received: float, tail: Headers | None = None
    ) -> None:
        self._lane.failed(kind)
        self._lane.answered(status, self._clock() - received)
        call.end(Code.of(status), message[:LONGEST_ERROR], tail)
        self.log(call, received, status, tail or [], 0)


class _GrpcInference(Inference):
    """One ``ModelInferRequest``."""

    __slots__ = ("_message",)

    def __init__(self, served: Served, message: bytes, headers: Callable[[], Headers], *, streams: bool) -> None:
        super().__init__(served, headers, streams=streams)
        self._message = message

    def parse(self) -> InferRequest:
        return codec.parse(self.model, self._message)

    def write(self, request: InferRequest, outputs: list[Output]) -> tuple[Headers, bytes]:
        return codec.encode(self.model, request, outputs)


class _Seen:
    """A call as the access log reads requests."""

    method = "POST"

    def __init__(self, call: Call) -> None:
        self.path = call.method
        self.header = call.metadata.get
