"""The Open Inference Protocol's routes.

Only what touches tensors needs numpy, and it is imported with the first of them (or with the script's ``infer``),
so that a scorer nobody speaks this protocol to pays nothing for it.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Headers, Job, Sink
from penstock_scorer.inference.model import SERVER
from penstock_scorer.inference.rest_task import RestInference
from penstock_scorer.inference.small import Forms
from penstock_scorer.telemetry.metrics import ErrorKind, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.http.front import Incoming
    from penstock_scorer.inference.served import Served

_OPEN = ("/v2/health/live", "/v2/health/ready")
_LONGEST_ERROR = 1000
_ENCODED = "Content-Encoding is not supported: send the body as it is."


class V2:
    """Answers what is below ``/v2``, or hands it to the dataplane.

    Args:
        served: The model and the script's function.
        submit: The dataplane: takes a job once the body has arrived.
        lane: The counters of the transport's thread.
        clock: Seconds, monotonic, that of ``Job.received``.
    """

    def __init__(
        self,
        served: Served,
        submit: Callable[[Job], None],
        lane: Lane,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._served = served
        self._model = served.model
        self._forms = Forms()
        self.takes_score = served.takes_score
        self._submit = submit
        self._lane = lane
        self._clock = clock
        path = f"/v2/models/{quote(self._model.name, safe='')}"
        self._infer_paths = frozenset((f"{path}/infer", f"{path}/versions/{quote(self._model.version, safe='')}/infer"))

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is below ``/v2``."""
        return path == "/v2" or path.startswith("/v2/")

    @staticmethod
    def is_open(path: str) -> bool:
        """Whether a path is answered to anybody: health, as ``GET /`` is."""
        return path in _OPEN

    def __call__(self, request: Incoming, tail: Headers, received: float, deadline: float | None) -> None:
        """Answer one request."""
        try:
            path, method = request.path, request.method
            # The one path that is asked for all the time need not be taken apart.
            answer = None if path in self._infer_paths and method == "POST" else self._find(path, method)
            if answer is None:
                self._infer(request, tail, received, deadline)
                return
        except BadInputError as error:
            self._lane.failed(ErrorKind.BAD_INPUT)
            self._lane.answered(error.status, self._clock() - received)
            request.reject(error.status, [answers.CONTENT_JSON, *tail], error_body(str(error)))
            return
        self._lane.answered(200, self._clock() - received)
        request.respond(200, [answers.CONTENT_JSON, *tail], json.dumps(answer).encode("ascii"))

    def _find(self, path: str, method: str) -> dict[str, Any] | None:
        """What a path answers; None: an inference.

        Raises:
            BadInputError: there is no such path, or not for this method.
        """
        parts = ["infer"] if path == "/score" else self._in_model([unquote(part) for part in path.split("/")[2:]])
        answer: dict[str, Any] | None
        match parts:
            case []:
                answer = SERVER
            case ["health", "live" | "ready" as state]:
                answer = {state: True}
            case ["model"]:
                answer = self._model.metadata()
            case ["model", "ready"]:
                answer = {"name": self._model.name, "ready": True}
            case ["model", "infer"] | ["infer"]:
                answer = None
            case _:
                raise BadInputError(answers.NOT_FOUND, 404)
        if method not in (("POST",) if answer is None else ("GET", "HEAD")):
            raise BadInputError(answers.NOT_ALLOWED, 405)
        return answer

    def _in_model(self, parts: list[str]) -> list[str]:
        """``models/NAME[/versions/V]/...`` as ``model/...``, any other path as it is."""
        match parts:
            case ["models", name, "versions", version, *rest]:
                self._model.check(name, version)
            case ["models", name, *rest]:
                self._model.check(name, "")
            case _:
                return parts if parts[:1] != ["model"] else ["", *parts]
        return ["model", *rest]

    def _infer(self, request: Incoming, tail: Headers, received: float, deadline: float | None) -> None:
        header = request.header
        if header("content-encoding", "identity") != "identity":
            raise BadInputError(_ENCODED, 415)
        job = Job(
            _Exchange(request), "POST", request.path, request.query, header("content-type", ""), request.headers,
            tail, received, deadline,
        )  # fmt: skip

        def arrived(body: bytes | None) -> None:
            if body is None:
                self._lane.failed(ErrorKind.DISCONNECTED)
                self._lane.answered(400, self._clock() - received)
                request.respond(400, [answers.CONTENT_JSON, *tail], error_body(answers.INCOMPLETE))
                return
            length = header("inference-header-content-length")
            job.task = task = RestInference(self._served, request.headers, body, length, self._forms)
            job.encode = task.encode
            self._submit(job)

        request.read(arrived)


class _Exchange:
    """Sends the dataplane's errors as this protocol writes them."""

    __slots__ = ("_request",)

    def __init__(self, request: Incoming) -> None:
        self._request = request

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A result as it is, an error as ``{"error": sentence}``."""
        self._request.respond(status, headers, body if status == 200 else error_body(answers.message(body)))  # noqa: PLR2004

    def stream(self, status: int, headers: Headers) -> Sink:
        """Pieces as they are."""
        return self._request.stream(status, headers)

    def watch(self, gone: Callable[[], None]) -> None:
        """The request's own."""
        self._request.watch(gone)

    def unwatch(self) -> None:
        """The request's own."""
        self._request.unwatch()

    def hold(self, send: Callable[[], None]) -> bool:
        """The request's own."""
        return self._request.hold(send)

    def cut(self) -> None:
        """The request's own."""
        self._request.cut()


def error_body(message: str) -> bytes:
    """An error as this protocol writes it."""
    return json.dumps({"error": message[:_LONGEST_ERROR]}).encode("ascii")
