"""The dataplane: admit a request, run the script on it, answer.

It knows no transport: a request is a :class:`~penstock_scorer.dataplane.job.Job` whose exchange sends the
answer. HTTP, gRPC and the Open Inference Protocol use it.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from penstock_scorer.contract.inputs import BadInputError, InputMode, parse_object, parse_text
from penstock_scorer.contract.results import NotSerializableError, to_json
from penstock_scorer.contract.tracebacks import user_traceback
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.executor import Executor, Handlers, Limits, ScoringTimeoutError
from penstock_scorer.telemetry.metrics import ErrorKind, Histogram, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_scorer.contract.signature import RunSignature
    from penstock_scorer.dataplane.job import Headers, Job

_log = logging.getLogger("penstock_scorer")
_RETRY_AFTER_S = "1"


class Scoring:
    """Runs one script for many callers.

    Args:
        signature: The script's ``run``.
        limits: How many at once, how long.
        lanes: One metrics lane for the transport's thread, one for the watchman, one for each slot.
        leave: Called when this process should be replaced: ``run`` called ``sys.exit``, or cannot be
        interrupted. clock: Seconds, monotonic, the one of ``Job.received``.
    """

    def __init__(
        self,
        signature: RunSignature,
        limits: Limits,
        lanes: list[Lane],
        leave: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._signature = signature
        self._call = signature.call
        self._text_parameter = signature.parameters[0].name if signature.mode is InputMode.TEXT else None
        self._timeout_ms = round(limits.timeout * 1000)
        self._front, self._watch, *self._slots = lanes
        self._leave = leave
        self._clock = clock
        self._admission = threading.Lock()
        handlers = Handlers(
            run=self._run, late=self._late, waited=self._waited, overdue=self._overdue, stuck=self._stuck
        )
        self.executor = Executor(limits, handlers, clock)

    @property
    def raw(self) -> bool:
        """Whether the script handles methods itself."""
        return self._signature.mode is InputMode.RAW

    def submit(self, job: Job, lane: Lane | None = None) -> None:
        """Queue a job whose body has arrived, or answer 429.

        Called from the threads of the transports, each with its own ``lane``; None is HTTP's.
        """
        lane = lane or self._front
        lane.opened()
        with self._admission:
            taken = self.executor.submit(job)
        if not taken:
            self._refuse(job, lane)
            lane.closed()

    def _run(self, job: Job, slot: int) -> None:
        lane = self._slots[slot]
        started = self._clock()
        lane.observe(Histogram.QUEUE, started - job.received)
        try:
            self._score(job, lane)
        except ScoringTimeoutError:
            _log.error("Encountered Exception: %s", traceback.format_exc())
            self._timed_out(job, lane)
        except SystemExit as error:
            self._answer(job, lane, 500, answers.headers(failed=True, tail=job.tail), answers.SCRIPT_FAILED)
            self._leave(f"run() ended its process with sys.exit({error.code!r})")
        except BaseException:  # noqa: BLE001 - the slot must outlive whatever happens in it
            _log.exception("A fault in the scorer")
            lane.failed(ErrorKind.INTERNAL)
            self._answer(job, lane, 500, answers.headers(tail=job.tail), answers.INTERNAL)
        finally:
            lane.closed()

    def _score(self, job: Job, lane: Lane) -> None:
        task = job.task
        try:
            arguments = self._arguments(job) if task is None else task.arguments()
        except BadInputError as error:
            lane.failed(ErrorKind.BAD_INPUT)
            self._answer(job, lane, error.status, answers.headers(tail=job.tail), str(error))
            return
        begun = self._clock()
        try:
            result = self._call(**arguments) if task is None else task.call(**arguments)
        except ScoringTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            _log.error("run() failed, request %s\n%s", _request_id(job), user_traceback(error))
            lane.failed(ErrorKind.SCRIPT)
            self._answer(job, lane, 500, answers.headers(failed=True, tail=job.tail), answers.SCRIPT_FAILED)
            return
        ended = self._clock()
        lane.observe(Histogram.RUN, ended - begun)
        elapsed = ("x-ms-run-fn-exec-ms", f"{(ended - begun) * 1000:.3f}")
        if task is None and _is_response(result):
            self._respond(job, lane, result, elapsed)
            return
        try:
            headers, body = ([answers.CONTENT_JSON], to_json(result)) if task is None else task.encode(result)
        except BadInputError as error:
            lane.failed(ErrorKind.BAD_INPUT)
            self._answer(job, lane, error.status, answers.headers(tail=job.tail), str(error))
            return
        except NotSerializableError as error:
            _log.error("Request %s: %s", _request_id(job), error)
            lane.failed(ErrorKind.SERIALIZATION)
            self._answer(job, lane, 500, answers.headers(tail=job.tail), answers.INTERNAL)
            return
        if job.take_answer():
            job.exchange.respond(200, [*headers, answers.RUN_OK, elapsed, *job.tail], body)
            lane.answered(200, self._clock() - job.received)

    def _arguments(self, job: Job) -> dict[str, Any]:
        signature = self._signature
        if self._text_parameter is not None:
            arguments: dict[str, Any] = {self._text_parameter: parse_text(job.method, job.query, job.body)}
        elif signature.mode is InputMode.OBJECT:
            arguments = parse_object(job.method, job.query, job.content_type, job.body, signature.parameters)
        else:
            from penstock_scorer.contract.amlhttp import build_request  # noqa: PLC0415

            request = build_request(
                method=job.method, path=job.path, query=job.query, headers=job.headers(), body=job.body
            )
            arguments = {signature.parameters[0].name: request}
        if signature.wants_headers:
            arguments["request_headers"] = _header_dict(job.headers())
        return arguments

    def _respond(self, job: Job, lane: Lane, response: Any, elapsed: tuple[str, str]) -> None:
        """Send what a ``@rawhttp`` script answered by itself."""
        ours = {name.lower() for name, _ in job.tail}
        headers = [
            (name.lower(), str(value))
            for name, value in response.headers.items()
            if name.lower() not in ours and name.lower() != "content-length"
        ]
        status = response.status_code
        if status >= 500:  # noqa: PLR2004
            headers = [header for header in headers if header[0] != answers.FAILED]
            headers.append((answers.FAILED, "True"))
            lane.failed(ErrorKind.SCRIPT)
        headers += [elapsed, *job.tail]
        if not job.take_answer():
            return
        try:
            if response.is_streamed and job.method != "HEAD":
                _stream(response.response, job.exchange.stream(status, headers))
            else:
                job.exchange.respond(status, headers, response.get_data())
        finally:
            response.close()
            lane.answered(status, self._clock() - job.received)

    def _late(self, job: Job) -> None:
        lane = self._slots[0]
        lane.failed(ErrorKind.EXPIRED)
        self._answer(job, lane, 503, answers.headers(tail=job.tail), answers.EXPIRED)
        lane.closed()

    def _waited(self, job: Job) -> None:
        self._refuse(job, self._watch)
        self._watch.closed()

    def _overdue(self, job: Job) -> None:
        _log.error("Request %s: run() took longer than %d ms; interrupting it.", _request_id(job), self._timeout_ms)
        self._timed_out(job, self._watch)

    def _stuck(self) -> None:
        self._leave("run() cannot be interrupted")

    def _refuse(self, job: Job, lane: Lane) -> None:
        lane.failed(ErrorKind.OVERLOADED)
        retry = [("retry-after", _RETRY_AFTER_S)]
        self._answer(job, lane, 429, answers.headers(extra=retry, tail=job.tail), answers.OVERLOADED)

    def _timed_out(self, job: Job, lane: Lane) -> None:
        if job.take_answer():
            lane.failed(ErrorKind.TIMEOUT)
            message = f"Scoring timeout after {self._timeout_ms} ms"
            job.exchange.respond(500, answers.headers(failed=True, tail=job.tail), answers.error(message))
            lane.answered(500, self._clock() - job.received)

    def _answer(self, job: Job, lane: Lane, status: int, headers: Headers, message: str) -> None:
        if job.take_answer():
            job.exchange.respond(status, headers, answers.error(message))
            lane.answered(status, self._clock() - job.received)


def _is_response(result: Any) -> bool:
    """Whether ``run`` returned a Werkzeug (or Flask) response; Werkzeug is not imported to find out."""
    kind = type(result)
    if kind in _PLAIN:
        return False
    return any(base.__name__ == "Response" and base.__module__.startswith("werkzeug.") for base in kind.__mro__)


_PLAIN = frozenset({dict, list, str, int, float, bool, tuple, type(None)})


def _stream(chunks: Iterable[str | bytes], send: Callable[[bytes], bool]) -> None:
    for chunk in chunks:
        if not send(chunk.encode() if isinstance(chunk, str) else chunk):
            return


def _header_dict(headers: Headers) -> dict[str, str]:
    """Header names as WSGI servers spell them (``Content-Type``); repeated ones joined by a comma."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.title()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _request_id(job: Job) -> str:
    return next((value for name, value in job.tail if name == "x-request-id"), "-")
