"""The dataplane: admit a request, run the script on it, answer.

It knows no transport: a request is a :class:`~penstock_scorer.dataplane.job.Job` whose exchange sends the
answer. A job is for ``/score`` (its ``body``), or brings a ``task`` (the Open Inference Protocol); all share the
same queue, slots and limits, whatever they came by.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock_scorer.contract.inputs import BadInputError, InputMode
from penstock_scorer.contract.signature import RunSignature
from penstock_scorer.dataplane.calling import Caller
from penstock_scorer.dataplane.executor import Executor
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import Handlers, Limits, ScoringTimeoutError
from penstock_scorer.dataplane.merged import Merged, batched_call
from penstock_scorer.dataplane.replies import Replies, Seat, request_id
from penstock_scorer.telemetry import serving
from penstock_scorer.telemetry.metrics import ErrorKind, Histogram, Lane

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from penstock_scorer.batching.collector import Source

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
        queue: What jobs of a blocking script wait in; None: a plain one.
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
        queue: Source[Job] | None = None,
    ) -> None:
        self._signature = signature
        self._timeout_ms = round(limits.timeout * 1000)
        self._leave = leave
        self._clock = clock
        self._replies = Replies(self._timeout_ms, clock)
        self._caller = Caller(signature, infer, self._replies, clock)
        front, watch, *slots = lanes
        self._front = Seat(front, _nothing)
        self._watch = Seat(watch, _nothing)
        self._watchman = 0
        """The watchman's thread, once it has had anybody watched."""
        handlers = Handlers(
            run=self._run, late=self._late, waited=self._waited, watch=self._watch_client, gone=self._gone,
            overdue=self._overdue, stuck=self._stuck, run_async=self._run_async,
        )  # fmt: skip
        self.executor = _executor(signature, limits, handlers, clock, loop, queue)
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
        run = None
        if signature.batch is not None and limits.batch is not None:
            run = batched_call(signature.call, signature.parameters[0].name, wants_headers=signature.wants_headers)
        if infer is None and run is None:
            return None
        return Merged(run, self._caller.read, infer, self._caller.call, self._replies, self._clock)

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
                self._caller.call(jobs[0], seat)
            else:
                self._merged.run(jobs, seat)
        except ScoringTimeoutError:
            _log.error("Encountered Exception: %s", traceback.format_exc())
            for job in jobs:
                self._replies.timed_out(job, seat)
                if not job.held:
                    # It may have struck between the claim of an answer and its sending.
                    job.exchange.cut()
        except SystemExit as error:
            for job in jobs:
                if not job.answered:
                    self._replies.script_failed(job, seat, error)
            self._leave(f"run() ended its process with sys.exit({error.code!r})")
        except BaseException:  # noqa: BLE001 - the slot must outlive whatever happens in it
            self._fault(jobs, seat)
        finally:
            self._leave_slot(jobs, lane)

    async def _run_async(self, job: Job, index: int) -> None:
        serving.job.set(job)
        seat = self._seats[index]
        started = self._clock()
        seat.lane.began(started)
        seat.lane.observe(Histogram.QUEUE, started - job.received)
        try:
            await self._caller.call_async(job, seat)
        except BadInputError as error:
            self._replies.bad_input(job, seat, error)
        except SystemExit as error:
            self._replies.script_failed(job, seat, error)
            self._leave(f"run() ended its process with sys.exit({error.code!r})")
        except Exception:  # noqa: BLE001 - as in _run
            self._fault([job], seat)
        finally:
            self._leave_slot([job], seat.lane)

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
        self._watchman = threading.get_ident()
        job.exchange.watch(partial(self.executor.abandon, job))

    def _gone(self, job: Job) -> None:
        # On the transport's thread, so it is the transport's lane that counts; or on the watchman's, where the client
        # had left before it was watched. A lane has one writer: two would lose each other's counts.
        lane = self._watch.lane if threading.get_ident() == self._watchman else job.lane or self._front.lane
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


def _executor(  # noqa: PLR0917 - called once
    signature: RunSignature,
    limits: Limits,
    handlers: Handlers,
    clock: Callable[[], float],
    loop: AbstractEventLoop | None,
    queue: Source[Job] | None,
) -> Executor:
    if not signature.awaited:
        return Executor(limits, handlers, clock, queue)
    from penstock_scorer.dataplane.coroutines import AsyncExecutor  # noqa: PLC0415 - asyncio, where it is needed

    return AsyncExecutor(limits, handlers, clock, loop)


def _nothing() -> None:
    """There is no place to give free."""
