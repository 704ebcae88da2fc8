"""The dataplane: admit a request, run the script on it, answer.

It knows no transport: a request is a :class:`~penstock_scorer.dataplane.job.Job` whose exchange sends the
answer. A job is for ``/score`` (its ``body``), or brings a ``task`` (the Open Inference Protocol); all share the
same queue, slots and limits, whatever they came by.
"""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock_scorer.contract.inputs import BadInputError, InputMode, parse_object, parse_text
from penstock_scorer.contract.signature import RunSignature
from penstock_scorer.contract.streams import chunks_of, is_stream
from penstock_scorer.dataplane import streaming
from penstock_scorer.dataplane.executor import Executor
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.dataplane.limits import Handlers, Limits, ScoringTimeoutError
from penstock_scorer.dataplane.merged import Merged, batched_call
from penstock_scorer.dataplane.replies import PLAIN, Replies, Seat, request_id
from penstock_scorer.telemetry import serving
from penstock_scorer.telemetry.metrics import ErrorKind, Histogram, Lane

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_log = logging.getLogger("penstock_scorer")


class Scoring:
    """Runs one script for many callers.

    Args:
        signature: The script's ``run``.
        limits: How many at once, how long, and how they are merged.
        lanes: One metrics lane for the transport's thread, one for the watchman, one for each slot.
        leave: Called when this process should be replaced: ``run`` called ``sys.exit``, or cannot be
            interrupted.
        clock: Seconds, monotonic, the one of ``Job.received``.
        infer: The script's ``infer``, if it has one.
        loop: The event loop that an ``async def init`` ran on; an ``async def run`` stays on it.
    """

    def __init__(  # noqa: PLR0917 - made once
        self,
        signature: RunSignature,
        limits: Limits,
        lanes: list[Lane],
        leave: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
        infer: Callable[[dict[str, Any]], Any] | None = None,
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self._signature = signature
        self._call = signature.call
        self._infer = infer
        self._text_parameter = signature.parameters[0].name if signature.mode is InputMode.TEXT else None
        self._timeout_ms = round(limits.timeout * 1000)
        self._leave = leave
        self._clock = clock
        self._replies = Replies(self._timeout_ms, clock)
        front, watch, *slots = lanes
        self._front = Seat(front, _nothing)
        self._watch = Seat(watch, _nothing)
        handlers = Handlers(
            run=self._run, late=self._late, waited=self._waited, watch=self._watch_client, gone=self._gone,
            overdue=self._overdue, stuck=self._stuck, run_async=self._run_async,
        )  # fmt: skip
        self.executor = _executor(signature, limits, handlers, clock, loop)
        self._seats = [Seat(lane, partial(self.executor.release, index)) for index, lane in enumerate(slots)]
        self._merged = self._make_merged(limits, infer)

    @property
    def raw(self) -> bool:
        """Whether the script handles methods itself."""
        return self._signature.mode is InputMode.RAW

    def submit(self, job: Job) -> None:
        """Queue a job whose body has arrived, or answer 429. Called from any transport's thread."""
        lane = job.lane or self._front.lane
        lane.opened()
        if not self.executor.submit(job):
            self._replies.refuse(job, Seat(lane, _nothing))

    def _make_merged(self, limits: Limits, infer: Callable[[dict[str, Any]], Any] | None) -> Merged | None:
        signature = self._signature
        batched = signature.batch is not None and self._text_parameter is not None
        if infer is None and not batched:
            return None
        run = (
            batched_call(self._call, self._text_parameter or "", wants_headers=signature.wants_headers)
            if batched and limits.batch is not None
            else None
        )
        return Merged(run, self._read_one, infer, self._score, self._replies, self._clock)

    def _run(self, jobs: list[Job], index: int) -> None:
        serving.job.set(jobs[0])
        seat = self._seats[index]
        lane = seat.lane
        started = self._clock()
        lane.began(started)
        for job in jobs:
            lane.observe(Histogram.QUEUE, started - job.received)
        try:
            if self._merged is None:
                self._score(jobs[0], seat)
            else:
                self._merged.run(jobs, seat)
        except ScoringTimeoutError:
            _log.error("Encountered Exception: %s", traceback.format_exc())
            for job in jobs:
                self._replies.timed_out(job, seat)
        except SystemExit as error:
            for job in jobs:
                if not job.answered:
                    self._replies.script_failed(job, seat, error)
            self._leave(f"run() ended its process with sys.exit({error.code!r})")
        except BaseException:  # noqa: BLE001 - the slot must outlive whatever happens in it
            self._fault(jobs, seat)
        finally:
            self._leave_slot(jobs, lane)

    def _score(self, job: Job, seat: Seat) -> None:
        try:
            arguments = self._arguments(job)
        except BadInputError as error:
            self._replies.bad_input(job, seat, error)
            return
        begun = self._clock()
        try:
            result = self._call(**arguments) if job.task is None else job.task.call(**arguments)
        except ScoringTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.script_failed(job, seat, error)
            return
        seconds = self._clock() - begun
        seat.lane.observe(Histogram.RUN, seconds)
        if type(result) not in PLAIN and (_is_stream(job, result) or inspect.isawaitable(result)):
            from penstock_scorer.dataplane.coroutines import complete, drive  # noqa: PLC0415 - asyncio, rarely

            if not _is_stream(job, result):
                complete(self._finish(job, seat, result, begun))
                return
            pieces = chunks_of(result)
            outlet = streaming.Outlet(job, seat, self._replies, result)
            streaming.send(drive(pieces) if isinstance(pieces, AsyncIterator) else pieces, outlet)
            return
        self._replies.result(job, seat, result, seconds)

    async def _run_async(self, job: Job, index: int) -> None:
        seat = self._seats[index]
        started = self._clock()
        seat.lane.began(started)
        seat.lane.observe(Histogram.QUEUE, started - job.received)
        try:
            if job.task is not None:
                job.inputs = job.task.inputs()
            if job.inputs is not None:
                await self._infer_async(job, seat)
            else:
                arguments = self._arguments(job)
                call = self._call if job.task is None else job.task.call
                await self._finish(job, seat, call(**arguments), self._clock())
        except BadInputError as error:
            self._replies.bad_input(job, seat, error)
        except SystemExit as error:
            self._replies.script_failed(job, seat, error)
            self._leave(f"run() ended its process with sys.exit({error.code!r})")
        except Exception:  # noqa: BLE001 - as in _run
            self._fault([job], seat)
        finally:
            self._leave_slot([job], seat.lane)

    async def _finish(self, job: Job, seat: Seat, result: Any, begun: float) -> None:
        """Await what an ``async def run`` gave, and answer."""
        try:
            if inspect.isawaitable(result):
                result = await result
        except ScoringTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.script_failed(job, seat, error)
            return
        seconds = self._clock() - begun
        seat.lane.observe(Histogram.RUN, seconds)
        if type(result) not in PLAIN and _is_stream(job, result):
            pieces = chunks_of(result)
            outlet = streaming.Outlet(job, seat, self._replies, result)
            if isinstance(pieces, AsyncIterator):
                await streaming.send_async(pieces, outlet)
            else:
                streaming.send(pieces, outlet)
            return
        self._replies.result(job, seat, result, seconds)

    async def _infer_async(self, job: Job, seat: Seat) -> None:
        """``infer`` beside an ``async def run``: not merged, for merging would hold the loop."""
        assert self._infer is not None  # noqa: S101 - the transport refuses inputs where there is none
        assert job.inputs is not None  # noqa: S101 - see _run_async
        begun = self._clock()
        try:
            outputs = self._infer(dict(job.inputs))
            if inspect.isawaitable(outputs):
                outputs = await outputs
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.script_failed(job, seat, error)
            return
        seconds = self._clock() - begun
        seat.lane.observe(Histogram.RUN, seconds)
        self._replies.outputs(job, seat, outputs, seconds)

    def _read_one(self, job: Job) -> Any:
        """What a batched ``run`` gets for one job."""
        text = self._arguments(job)[self._text_parameter or ""]
        return (text, _header_dict(job.headers())) if self._signature.wants_headers else text

    def _arguments(self, job: Job) -> dict[str, Any]:
        if job.task is not None:
            return job.task.arguments()
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

    def _fault(self, jobs: list[Job], seat: Seat) -> None:
        _log.exception("A fault in the scorer")
        for job in jobs:
            if not job.answered:
                self._replies.internal(job, seat)

    @staticmethod
    def _leave_slot(jobs: list[Job], lane: Lane) -> None:
        lane.ended()
        for job in jobs:
            if job.watched:
                job.exchange.unwatch()
            if not job.closed:
                lane.closed()

    def _late(self, job: Job, index: int) -> None:
        self._give_up(job)
        self._replies.expired(job, Seat(self._seats[index].lane, _nothing))

    def _waited(self, job: Job) -> None:
        self._give_up(job)
        self._replies.refuse(job, self._watch)

    def _watch_client(self, job: Job) -> None:
        job.watched = True
        job.exchange.watch(partial(self.executor.abandon, job))

    def _gone(self, job: Job) -> None:
        # Called on the transport's thread, so it is the transport's lane that counts.
        lane = job.lane or self._front.lane
        if job.take_answer():
            lane.failed(ErrorKind.DISCONNECTED)
        lane.closed()

    def _overdue(self, job: Job) -> None:
        if not job.answered:
            _log.error("Request %s: run() took longer than %d ms; interrupting it.", request_id(job), self._timeout_ms)
            self._replies.timed_out(job, self._watch)

    def _stuck(self) -> None:
        self._leave("run() cannot be interrupted")

    @staticmethod
    def _give_up(job: Job) -> None:
        """It will not be started: there is nobody to watch any more."""
        if job.watched:
            job.exchange.unwatch()


def _executor(
    signature: RunSignature,
    limits: Limits,
    handlers: Handlers,
    clock: Callable[[], float],
    loop: AbstractEventLoop | None,
) -> Executor:
    if not signature.awaited:
        return Executor(limits, handlers, clock)
    from penstock_scorer.dataplane.coroutines import AsyncExecutor  # noqa: PLC0415 - asyncio, where it is needed

    return AsyncExecutor(limits, handlers, clock, loop)


def _is_stream(job: Job, result: Any) -> bool:
    """Whether to send it in pieces; a task answers with one piece."""
    return job.task is None and is_stream(result)


def _nothing() -> None:
    """There is no place to give free."""


def _header_dict(headers: Headers) -> dict[str, str]:
    """Header names as WSGI servers spell them (``Content-Type``); repeated ones joined by a comma.

    Names with an underscore are left out: in WSGI's spelling they would pass for the name with a hyphen.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if "_" in name or (not value and name in {"content-type", "content-length"}):
            continue
        key = name.title()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found
