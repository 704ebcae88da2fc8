"""One job, one call of the script: its arguments, the call, and what becomes of what it returns.

Everything is here twice: for slots that are threads (:meth:`Caller.call`) and for slots that are coroutines
(:meth:`Caller.call_async`).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock_scorer.contract.inputs import BadInputError, InputMode, parse_object, parse_text
from penstock_scorer.contract.streams import chunks_of, is_stream
from penstock_scorer.dataplane import streaming
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.dataplane.limits import ScoringTimeoutError
from penstock_scorer.dataplane.outlet import Outlet, ResponseForm, ScoreForm, TaskForm
from penstock_scorer.dataplane.replies import PLAIN, Replies, Seat, is_response
from penstock_scorer.telemetry.metrics import Histogram

if TYPE_CHECKING:
    from penstock_scorer.contract.signature import RunSignature

_ANSWERED = object()


class Caller:
    """Calls one script, and answers.

    Args:
        signature: The script's ``run``.
        infer: The script's ``infer``, where it takes the tensors alone.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        signature: RunSignature,
        infer: Callable[[dict[str, Any]], Any] | None,
        replies: Replies,
        clock: Callable[[], float],
    ) -> None:
        self._signature = signature
        self._run = signature.call
        self._infer = infer
        self._text_parameter = signature.parameters[0].name if signature.mode is InputMode.TEXT else None
        self._replies = replies
        self._clock = clock

    def call(self, job: Job, seat: Seat) -> None:
        """Run and answer one job, in the calling thread.

        Raises:
            ScoringTimeoutError, SystemExit: the job may have been answered.
        """
        try:
            arguments = self._arguments(job)
        except BadInputError as error:
            self._replies.bad_input(job, seat, error)
            return
        begun = self._clock()
        try:
            result = self._run(**arguments) if job.task is None else job.task.call(**arguments)
            if type(result) not in PLAIN:
                if inspect.isawaitable(result):
                    from penstock_scorer.dataplane.coroutines import complete  # noqa: PLC0415 - asyncio, rarely

                    complete(self._finish(job, seat, result, begun))
                    return
                result = self._unfold(job, seat, result, begun)
        except ScoringTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.unusable(job, seat, error)
            return
        self._answer(job, seat, result, begun)

    async def call_async(self, job: Job, seat: Seat) -> None:
        """Run and answer one job of a script whose ``run`` is awaited.

        Raises:
            BadInputError: it cannot be called with what came.
            CancelledError, SystemExit: the job may have been answered.
        """
        if job.task is not None:
            job.inputs = job.task.inputs()
        if job.inputs is not None:
            # Not merged: merging would hold up the loop.
            assert self._infer is not None  # noqa: S101 - the transport refuses inputs where there is none
            call = partial(self._infer, dict(job.inputs))
        else:
            arguments = self._arguments(job)
            call = partial(self._run if job.task is None else job.task.call, **arguments)
        begun = self._clock()
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.unusable(job, seat, error)
            return
        await self._finish(job, seat, result, begun)

    def read(self, job: Job) -> Any:
        """What a batched ``run`` gets for one job.

        Raises:
            BadInputError: it cannot be called with what came.
        """
        text = self._arguments(job)[self._text_parameter or ""]
        return (text, header_dict(job.headers())) if self._signature.wants_headers else text

    async def _finish(self, job: Job, seat: Seat, result: Any, begun: float) -> None:
        """Await what an ``async def`` gave, and answer."""
        try:
            if inspect.isawaitable(result):
                result = await result
            if type(result) not in PLAIN:
                result = await self._unfold_async(job, seat, result, begun)
        except ScoringTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            self._replies.unusable(job, seat, error)
            return
        self._answer(job, seat, result, begun)

    def _answer(self, job: Job, seat: Seat, result: Any, begun: float) -> None:
        if result is not _ANSWERED:
            seconds = self._clock() - begun
            seat.lane.observe(Histogram.RUN, seconds)
            self._replies.result(job, seat, result, seconds)

    def _unfold(self, job: Job, seat: Seat, result: Any, begun: float) -> Any:
        """Send a result that comes in pieces, or gather it; any other is returned as it is."""
        pieces = _pieces(job, result)
        if pieces is None:
            return result
        if isinstance(pieces, AsyncIterator):
            from penstock_scorer.dataplane.coroutines import drive  # noqa: PLC0415 - asyncio, rarely

            pieces = drive(pieces)
        if job.task is not None and not job.task.streams:
            return streaming.gather(pieces, job.task)
        streaming.send(pieces, self._outlet(job, seat, result, begun))
        return _ANSWERED

    async def _unfold_async(self, job: Job, seat: Seat, result: Any, begun: float) -> Any:
        """As :meth:`_unfold`, without holding up the event loop."""
        pieces = _pieces(job, result)
        if pieces is None:
            return result
        if not isinstance(pieces, AsyncIterator):
            pieces = streaming.one_by_one(pieces)
        if job.task is not None and not job.task.streams:
            return await streaming.gather_async(pieces, job.task)
        await streaming.send_async(pieces, self._outlet(job, seat, result, begun))
        return _ANSWERED

    def _outlet(self, job: Job, seat: Seat, result: Any, begun: float) -> Outlet:
        seconds = self._clock() - begun
        seat.lane.observe(Histogram.RUN, seconds)
        if job.task is not None:
            return Outlet(job, seat, self._replies, TaskForm(job))
        if is_stream(result):
            return Outlet(job, seat, self._replies, ScoreForm(job, result))
        return Outlet(job, seat, self._replies, ResponseForm(job, result, seconds))

    def _arguments(self, job: Job) -> dict[str, Any]:
        if job.task is not None:
            return job.task.arguments()
        signature = self._signature
        if self._text_parameter is not None:
            arguments: dict[str, Any] = {self._text_parameter: parse_text(job.method, job.query, job.body)}
        elif signature.mode is InputMode.OBJECT:
            arguments = parse_object(job.method, job.query, job.content_type, job.body, signature.parameters)
        else:
            from penstock_scorer.contract.amlhttp import build_request  # noqa: PLC0415 - Werkzeug is an extra

            request = build_request(
                method=job.method, path=job.path, query=job.query, headers=job.headers(), body=job.body
            )
            arguments = {signature.parameters[0].name: request}
        if signature.wants_headers:
            arguments["request_headers"] = header_dict(job.headers())
        return arguments


def header_dict(headers: Headers) -> dict[str, str]:
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


def _pieces(job: Job, result: Any) -> Iterator[Any] | AsyncIterator[Any] | None:
    """The pieces of a result that has them."""
    if is_stream(result):
        return chunks_of(result)
    # HEAD asks for the headers alone: what may never end is not begun.
    if job.task is None and is_response(result) and result.is_streamed and job.method != "HEAD":
        return _response_pieces(result)
    return None


def _response_pieces(response: Any) -> Iterator[Any]:
    try:
        yield from response.response
    finally:
        response.close()
