"""Running a batch: many jobs, one call of the script for those that can share it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from penstock_scorer.batching.arrays import joined, merge_key
from penstock_scorer.batching.outcome import Answer, Outcome, call_batch
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import ScoringTimeoutError
from penstock_scorer.dataplane.replies import Replies, Seat
from penstock_scorer.telemetry.metrics import Histogram


class Merged:
    """Calls batched functions.

    Args:
        run: A batched ``run``: takes the list of arguments that ``read`` made. None: ``run`` is not batched.
        read: What ``run`` gets for one job.
        infer: The script's ``infer``, if it has one.
        single: Runs a job that is not for a batched function.
    """

    def __init__(  # noqa: PLR0917 - made once, by Scoring
        self,
        run: Callable[[list[Any]], Any] | None,
        read: Callable[[Job], Any],
        infer: Callable[[dict[str, Any]], Any] | None,
        single: Callable[[Job, Seat], None],
        replies: Replies,
        clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._read = read
        self._infer = joined(_plain(infer)) if infer is not None else None
        self._single = single
        self._replies = replies
        self._clock = clock

    def run(self, jobs: list[Job], seat: Seat) -> None:
        """Run and answer ``jobs``, in as few calls as their inputs allow."""
        groups: dict[Hashable, list[tuple[Job, Any]]] = {}
        for job in jobs:
            if job.task is not None:
                try:
                    job.inputs = job.task.inputs()
                except BadInputError as error:
                    self._replies.bad_input(job, seat, error)
                    continue
            if job.inputs is not None:
                key = merge_key(job.inputs)
                groups.setdefault(job if key is None else ("infer", key), []).append((job, job.inputs))
            elif self._run is None:
                groups.setdefault(job, []).append((job, None))
            else:
                try:
                    groups.setdefault("run", []).append((job, self._read(job)))
                except BadInputError as error:
                    self._replies.bad_input(job, seat, error)
        for group in filter(None, groups.values()):
            first = group[0][0]
            if first.inputs is not None:
                assert self._infer is not None  # noqa: S101 - the transport refuses inputs where there is none
                self._call(self._infer, group, self._replies.outputs, seat)
            elif self._run is None:
                self._single(first, seat)
            else:
                self._call(self._run, group, self._replies.result, seat)

    def _call(
        self,
        call: Callable[[list[Any]], Any],
        group: list[tuple[Job, Any]],
        answer: Callable[[Job, Seat, Any, float], None],
        seat: Seat,
    ) -> None:
        clock = self._clock
        took = 0.0

        def timed(inputs: list[Any]) -> Any:
            nonlocal took
            begun = clock()
            results = call(inputs)
            took = clock() - begun
            seat.lane.observe(Histogram.RUN, took)
            seat.lane.merged(len(inputs))
            return results

        def deliver(index: int, outcome: Outcome) -> None:
            job = group[index][0]
            if isinstance(outcome, Answer):
                answer(job, seat, outcome.value, took)
            else:
                self._replies.script_failed(job, seat, outcome.error)

        call_batch(timed, [item for _, item in group], deliver, passing=(ScoringTimeoutError,))


def batched_call(function: Callable[..., Any], parameter: str, *, wants_headers: bool) -> Callable[[list[Any]], Any]:
    """A batched ``run`` as a function of one list; with headers, of pairs of input and headers."""
    if not wants_headers:
        return partial(_with_name, function, parameter)
    return lambda pairs: function(**{parameter: [text for text, _ in pairs]}, request_headers=[h for _, h in pairs])


def _plain(infer: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """An ``async def infer`` as a function."""
    if not inspect.iscoroutinefunction(infer):
        return infer
    from penstock_scorer.dataplane.coroutines import complete  # noqa: PLC0415 - asyncio, where it is needed

    return lambda inputs: complete(infer(inputs))


def _with_name(function: Callable[..., Any], parameter: str, inputs: list[Any]) -> Any:
    return function(**{parameter: inputs})
