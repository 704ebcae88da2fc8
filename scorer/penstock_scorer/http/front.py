"""The routes.

Everything here runs on the transport's one Python thread, so it must never block: it checks the credential,
makes the ids, and hands ``/score`` to the dataplane once the body has arrived. What the dataplane would have
to wait for (health, metrics, refusals) is answered at once.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from penstock_scorer.contract.inputs import query_pairs
from penstock_scorer.contract.openapi import OpenApi, UnknownVersionError
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Exchange, Headers, Job
from penstock_scorer.http.ids import IdTooLongError, response_headers
from penstock_scorer.telemetry import exposition
from penstock_scorer.telemetry.metrics import ErrorKind, Lane, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.auth.guard import Guard
    from penstock_scorer.dataplane.scoring import Scoring
    from penstock_scorer.http.cors import Cors
    from penstock_scorer.http.v2 import V2
    from penstock_scorer.telemetry.access import AccessLog

_log = logging.getLogger("penstock_scorer.http")
_TEXT = ("content-type", "text/html; charset=utf-8")
_METHODS = frozenset({"POST", "GET", "OPTIONS", "HEAD"})
_WITH_BODY = frozenset({"POST", "GET"})
"""The methods that run a script which does not handle methods itself."""
_LONGEST_BUDGET = 12
"""Digits of milliseconds: 30 years."""
_UNAUTHORIZED = (
    b'{"error": {"code": "Unauthorized", "message": "A valid credential is required: Authorization: Bearer KEY."}}'
)


class Incoming(Exchange, Protocol):
    """One request as the transport delivers it."""

    method: str
    path: str
    query: str

    def header(self, name: str, default: Any = None) -> Any:
        """The first value of a header (name in lower case), or ``default``."""

    def headers(self) -> Headers:
        """Every header, names in lower case."""

    def read(self, done: Callable[[bytes | None], None]) -> None:
        """Call ``done`` with the body once it is whole, or with None when the client has left.

        A body that is too large is answered by the transport (:meth:`Front.too_large`): ``done`` is not called.
        """

    def reject(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer to a request whose body was not read."""


class Front:
    """Answers every request, by itself or through the dataplane.

    Args:
        scoring: The dataplane.
        openapi: The service's description.
        metrics: What ``/metrics`` renders.
        lane: The counters of the transport's thread.
        guard: Who may call; None lets everybody (stand-alone on loopback only).
        metrics_open: Whether ``/metrics`` needs no credential.
        common: Headers of every answer of ``/``, ``/score`` and ``/swagger.json``.
        cors: Cross-origin rules, if any.
        access: The access log, if any.
        v2: The Open Inference Protocol, if it is served.
    """

    def __init__(
        self,
        scoring: Scoring,
        openapi: OpenApi,
        metrics: Metrics,
        lane: Lane,
        guard: Guard | None,
        *,
        metrics_open: bool = True,
        common: Headers | None = None,
        cors: Cors | None = None,
        access: AccessLog | None = None,
        v2: V2 | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._scoring = scoring
        self._openapi = openapi
        self._metrics = metrics
        self._lane = lane
        self._guard = guard
        self._metrics_open = metrics_open
        self._common = common or []
        self._cors = cors
        self._access = access
        self._v2 = v2
        self._clock = clock
        self.draining = False

    def __call__(self, request: Incoming) -> None:
        """Answer one request. Never raises."""
        if self._access is not None:
            request = self._access.watch(request)
        try:
            self._route(request)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("A fault in the scorer")
            self._lane.failed(ErrorKind.INTERNAL)
            request.respond(500, answers.JSON_HEADERS, answers.error(answers.INTERNAL))

    def health(self, request: Incoming) -> None:
        """Answer one request of the separate health port: ``GET /`` and nothing else. Never raises."""
        if request.path == "/" and request.method in ("GET", "HEAD"):
            request.respond(200, [_TEXT], b"Healthy")
        else:
            request.respond(404, answers.JSON_HEADERS, answers.error(answers.NOT_FOUND))

    def too_large(self, request: Incoming, limit: int) -> None:
        """Answer one request whose body is larger than ``limit`` bytes; the rest of it will not be read."""
        if self._access is not None:
            request = self._access.watch(request)
        received = self._clock()
        tail = self._tail(request, received)
        if tail is not None:
            self._lane.failed(ErrorKind.BAD_INPUT)
            self._lane.answered(413, self._clock() - received)
            close = [] if self.draining else [("connection", "close")]
            said = answers.TOO_LARGE.format(limit)
            of_v2 = self._v2 is not None and self._v2.serves(request.path)
            body = json.dumps({"error": said}).encode() if of_v2 else answers.error(said)
            request.respond(413, answers.headers(extra=close, tail=tail), body)

    def _route(self, request: Incoming) -> None:
        received = self._clock()
        path, method = request.path, request.method
        if path == "/score":
            if self._guard is None or self._authorized(request, received):
                self._score(request, method, received)
        elif path == "/":
            self._simple(request, [_TEXT], b"Healthy", received, open_=True)
        elif path == "/metrics":
            if self._metrics_open or self._authorized(request, received):
                request.respond(200, [("content-type", exposition.CONTENT_TYPE)], exposition.render(self._metrics))
        elif self._v2 is not None and self._v2.serves(path):
            self._open_inference(self._v2, request, received)
        elif self._authorized(request, received):
            if path == "/swagger.json":
                self._swagger(request, received)
            else:
                self._reject(request, 404, answers.NOT_FOUND, received)

    def _open_inference(self, v2: V2, request: Incoming, received: float) -> None:
        if v2.is_open(request.path) or self._authorized(request, received):
            tail = self._tail(request, received)
            if tail is not None:
                v2(request, tail, received, _deadline(request, received))

    def _score(self, request: Incoming, method: str, received: float) -> None:
        if method not in _METHODS:
            self._reject(request, 405, answers.NOT_ALLOWED, received)
            return
        tail = self._tail(request, received)
        if tail is None:
            return
        if method not in _WITH_BODY and not self._scoring.raw:
            if method == "OPTIONS":
                request.respond(200, [_TEXT, answers.RUN_OK, *tail], b"")
                return
            request.respond(405, answers.headers(tail=tail), answers.error("Method not allowed"))
            return
        deadline = _deadline(request, received)
        if self._v2 is not None and self._v2.takes_score and method in _WITH_BODY:
            self._v2(request, tail, received, deadline)
            return
        job = Job(
            request, method, request.path, request.query, request.header("content-type", ""), request.headers, tail,
            received, deadline,
        )  # fmt: skip
        job.lane = self._lane
        request.read(partial(self._arrived, job))

    def _arrived(self, job: Job, body: bytes | None) -> None:
        if body is None:
            self._lane.failed(ErrorKind.DISCONNECTED)
            self._lane.answered(400, self._clock() - job.received)
            # Most often nobody is left to read it; who broke the rules of chunks is.
            job.exchange.respond(400, answers.headers(tail=job.tail), answers.error(answers.INCOMPLETE))
            return
        job.body = body
        self._scoring.submit(job)

    def _swagger(self, request: Incoming, received: float) -> None:
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            self._reject(request, 405, answers.NOT_ALLOWED, received)
            return
        version = next((value for key, value in query_pairs(request.query) if key == "version"), "2")
        try:
            document = self._openapi.document(version)
        except UnknownVersionError as error:
            tail = self._tail(request, received)
            if tail is not None:
                request.respond(404, answers.headers(tail=tail), answers.error(str(error)))
            return
        self._simple(request, answers.JSON_HEADERS, document, received)

    def _simple(
        self, request: Incoming, headers: Headers, body: bytes, received: float, *, open_: bool = False
    ) -> None:
        method = request.method
        if method not in ("GET", "HEAD", "OPTIONS"):
            if not open_ or self._authorized(request, received):
                self._reject(request, 405, answers.NOT_ALLOWED, received)
            return
        tail = self._tail(request, received)
        if tail is None:
            return
        if method == "OPTIONS":
            request.respond(200, [_TEXT, ("allow", "OPTIONS, GET, HEAD"), *tail], b"")
        else:
            request.respond(200, [*headers, *tail], body)

    def _tail(self, request: Incoming, received: float) -> Headers | None:
        """Ids, server version, CORS and drain headers; None when the request has been refused for its ids."""
        try:
            tail = response_headers(request.header, self._common)
        except IdTooLongError as error:
            self._lane.failed(ErrorKind.BAD_INPUT)
            self._lane.answered(431, self._clock() - received)
            tail = error.headers + (self._cors.headers(request.header, request.method) if self._cors else [])
            request.reject(431, answers.headers(tail=tail), answers.error(str(error)))
            return None
        if self._cors is not None:
            tail += self._cors.headers(request.header, request.method)
        if self.draining:
            tail.append(("connection", "close"))
        return tail

    def _authorized(self, request: Incoming, received: float) -> bool:
        if self._guard is None or self._guard.client(request.header("authorization")) is not None:
            return True
        self._lane.failed(ErrorKind.UNAUTHORIZED)
        self._lane.answered(401, self._clock() - received)
        request.reject(401, [answers.CONTENT_JSON, ("www-authenticate", "Bearer")], _UNAUTHORIZED)
        return False

    def _reject(self, request: Incoming, status: int, message: str, received: float) -> None:
        self._lane.answered(status, self._clock() - received)
        request.reject(status, answers.JSON_HEADERS, answers.error(message))


def _deadline(request: Incoming, received: float) -> float | None:
    budget = request.header("x-envoy-expected-rq-timeout-ms")
    if budget is None or len(budget) > _LONGEST_BUDGET or not budget.isdecimal():
        return None
    return received + int(budget) / 1000
