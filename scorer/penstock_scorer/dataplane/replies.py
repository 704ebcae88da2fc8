"""What every caller is told, and where it is counted.

Each answer is claimed first (:meth:`Job.take_answer`), so that of a slot, the watchman and a batch only one
speaks. A slot counts as free before its answer is sent: a client that has its answer may use the slot at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock_scorer.batching.outcome import WrongLengthError
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.results import NotSerializableError, to_json
from penstock_scorer.contract.tracebacks import user_traceback
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.telemetry.metrics import ErrorKind, Lane

_log = logging.getLogger("penstock_scorer")
_RETRY_AFTER_S = "1"
_SERVER_ERROR = 500
_MOST_HELD_BYTES = 16384
"""The body of an answer that may be held back."""
_JSON = [answers.CONTENT_JSON]


class Seat:
    """Who speaks: the counters of a thread, and how it gives a place free before it answers."""

    __slots__ = ("lane", "release")

    def __init__(self, lane: Lane, release: Callable[[], None]) -> None:
        self.lane = lane
        self.release = release


class Replies:
    """Answers jobs.

    Args:
        timeout_ms: The scoring timeout, for the sentence that names it.
        clock: Seconds, monotonic, the one of ``Job.received``.
    """

    def __init__(self, timeout_ms: int, clock: Callable[[], float]) -> None:
        self._timeout_ms = timeout_ms
        self._clock = clock

    def result(self, job: Job, seat: Seat, result: Any, seconds: float) -> None:
        """Send what ``run`` returned after ``seconds``, unless it is a stream."""
        if job.encode is not None:
            self.outputs(job, seat, result, seconds)
            return
        if type(result) not in PLAIN and is_response(result):
            self._respond(job, seat, result, seconds)
            return
        try:
            body = to_json(result)
        except NotSerializableError as error:
            self.not_serializable(job, seat, error)
            return
        self._ok(job, seat, _JSON, body, seconds)

    def outputs(self, job: Job, seat: Seat, outputs: Any, seconds: float) -> None:
        """Send what the script returned after ``seconds``, written by the job's own ``encode``."""
        assert job.encode is not None  # noqa: S101 - said to mypy; it comes with the inputs
        try:
            headers, body = job.encode(outputs)
        except BadInputError as error:
            self.bad_input(job, seat, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever infer() returned, its caller gets an answer
            self.not_serializable(job, seat, error)
            return
        self._ok(job, seat, headers, body, seconds)

    def bad_input(self, job: Job, seat: Seat, error: BadInputError) -> None:
        """The client sent what the script cannot take."""
        seat.lane.failed(ErrorKind.BAD_INPUT)
        self._error(job, seat, error.status, answers.headers(tail=job.tail), str(error))

    def script_failed(self, job: Job, seat: Seat, error: BaseException) -> None:
        """The script raised."""
        if isinstance(error, WrongLengthError):
            _log.error("Request %s: %s", request_id(job), error)
        elif not isinstance(error, SystemExit):
            _log.error("run() failed, request %s\n%s", request_id(job), user_traceback(error))
        seat.lane.failed(ErrorKind.SCRIPT)
        self._error(job, seat, 500, answers.headers(failed=True, tail=job.tail), answers.SCRIPT_FAILED)

    def unusable(self, job: Job, seat: Seat, error: BaseException) -> None:
        """There is no first piece to begin an answer with."""
        if isinstance(error, BadInputError):
            self.bad_input(job, seat, error)
        elif isinstance(error, NotSerializableError):
            self.not_serializable(job, seat, error)
        else:
            self.script_failed(job, seat, error)

    def not_serializable(self, job: Job, seat: Seat, error: Exception) -> None:
        """The script returned what cannot be sent."""
        _log.error("Request %s: %s", request_id(job), error)
        seat.lane.failed(ErrorKind.SERIALIZATION)
        self._error(job, seat, 500, answers.headers(tail=job.tail), answers.INTERNAL)

    def internal(self, job: Job, seat: Seat) -> None:
        """A fault of the scorer itself."""
        seat.lane.failed(ErrorKind.INTERNAL)
        self._error(job, seat, 500, answers.headers(tail=job.tail), answers.INTERNAL)

    def refuse(self, job: Job, seat: Seat) -> None:
        """No place, or none in time."""
        seat.lane.failed(ErrorKind.OVERLOADED)
        retry = [("retry-after", _RETRY_AFTER_S)]
        self._error(job, seat, 429, answers.headers(extra=retry, tail=job.tail), answers.OVERLOADED)

    def expired(self, job: Job, seat: Seat) -> None:
        """The caller's deadline passed before it could be started."""
        seat.lane.failed(ErrorKind.EXPIRED)
        self._error(job, seat, 503, answers.headers(tail=job.tail), answers.EXPIRED)

    def timed_out(self, job: Job, seat: Seat) -> None:
        """``run`` took too long."""
        if job.take_answer():
            seat.lane.failed(ErrorKind.TIMEOUT)
            message = f"Scoring timeout after {self._timeout_ms} ms"
            job.exchange.respond(500, answers.headers(failed=True, tail=job.tail), answers.error(message))
            seat.lane.answered(500, self._clock() - job.received)

    def sent(self, job: Job, seat: Seat, status: int) -> None:
        """Count an answer that went out in pieces."""
        seat.lane.answered(status, self._clock() - job.received)

    def _ok(self, job: Job, seat: Seat, headers: Headers, body: bytes, seconds: float) -> None:
        if job.take_answer():
            vacate(job, seat)
            send = partial(_send, job, headers, body, seconds)
            if len(body) <= _MOST_HELD_BYTES:
                job.held = job.exchange.hold(send)
            if not job.held:
                send()
            # Here, held back or not: it may be another thread that sends it, and a lane has one writer.
            seat.lane.answered(200, self._clock() - job.received)

    def _error(self, job: Job, seat: Seat, status: int, headers: Headers, message: str) -> None:
        if job.take_answer():
            vacate(job, seat)
            job.exchange.respond(status, headers, answers.error(message))
            seat.lane.answered(status, self._clock() - job.received)

    def _respond(self, job: Job, seat: Seat, response: Any, seconds: float) -> None:
        """Send what a ``@rawhttp`` script answered by itself, at once."""
        status = response.status_code
        try:
            # HEAD asks for the headers alone: what may never end is not begun.
            body = b"" if response.is_streamed and job.method == "HEAD" else response.get_data()
        finally:
            response.close()
        if failed(status):
            seat.lane.failed(ErrorKind.SCRIPT)
        if job.take_answer():
            vacate(job, seat)
            job.exchange.respond(status, response_headers(job, response, seconds), body)
            self.sent(job, seat, status)


def _send(job: Job, headers: Headers, body: bytes, seconds: float) -> None:
    elapsed = ("x-ms-run-fn-exec-ms", f"{seconds * 1000:.3f}")
    job.exchange.respond(200, [*headers, answers.RUN_OK, elapsed, *job.tail], body)


def failed(status: int) -> bool:
    """Whether an answer of the script's own counts as a failed run."""
    return status >= _SERVER_ERROR


def response_headers(job: Job, response: Any, seconds: float) -> Headers:
    """The headers of a script's own response, and those of every answer, which it cannot override."""
    ours = {name.lower() for name, _ in job.tail} | _THE_TRANSPORTS
    headers = [
        (name.lower(), str(value))
        for name, value in response.headers.items()
        if name.lower() not in ours and _NAME.fullmatch(name)
    ]
    if failed(response.status_code):
        headers = [header for header in headers if header[0] != answers.FAILED]
        headers.append((answers.FAILED, "True"))
    return [*headers, ("x-ms-run-fn-exec-ms", f"{seconds * 1000:.3f}"), *job.tail]


def vacate(job: Job, seat: Seat) -> None:
    """Give the job's place free: its answer follows."""
    seat.release()
    seat.lane.closed()
    job.closed = True


def request_id(job: Job) -> str:
    """The id a request is known by in the log."""
    return next((value for name, value in job.tail if name == "x-request-id"), "-")


def is_response(result: Any) -> bool:
    """Whether ``run`` returned a Werkzeug (or Flask) response; Werkzeug is not imported to find out."""
    kind = type(result)
    if kind in PLAIN:
        return False
    return any(base.__name__ == "Response" and base.__module__.startswith("werkzeug.") for base in kind.__mro__)


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Any other would be read as something else than a header."""
_THE_TRANSPORTS = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "date"}
)
"""Headers of a response that are about the connection, not the script's to say; gunicorn drops them, too."""
PLAIN = frozenset({dict, list, str, int, float, bool, tuple, type(None)})
"""Types of results that JSON holds and that need no second look."""
