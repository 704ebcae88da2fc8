"""One answer that goes out in pieces: how it begins, how each piece is written, how it ends.

The first piece is waited for before anything is sent, so a script that fails at once still gets a proper error.
A failure later breaks the answer off, behind an ``error`` event or line where the format has one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.results import NotSerializableError
from penstock_scorer.contract.streams import Format
from penstock_scorer.contract.tracebacks import user_traceback
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.forks import end_if_forked
from penstock_scorer.dataplane.job import Headers, Job, Sink
from penstock_scorer.dataplane.limits import ScoringTimeoutError
from penstock_scorer.dataplane.replies import Replies, Seat, failed, request_id, response_headers, vacate
from penstock_scorer.telemetry.metrics import ErrorKind

_log = logging.getLogger("penstock_scorer")
# Nothing between us and the client may hold a piece back.
_UNBUFFERED: Headers = [("cache-control", "no-cache"), ("x-accel-buffering", "no")]


class Form(Protocol):
    """How an answer in pieces is written."""

    status: int

    def begin(self, first: Any) -> Headers:
        """The headers, given the first piece; None: there is none."""

    def encode(self, piece: Any) -> bytes:
        """One piece, as sent.

        Raises:
            NotSerializableError: it is not what the answer can carry.
            BadInputError: it is not what the client asked for.
        """

    def failure(self, message: str) -> bytes:
        """The last piece of an answer that failed; empty where there is no way to say it."""


class ScoreForm:
    """What ``run`` gave to a request for ``/score``."""

    status = 200

    def __init__(self, job: Job, result: Any) -> None:
        self._job = job
        self._result = result
        self._format: Format

    def begin(self, first: Any) -> Headers:
        """As :class:`~penstock_scorer.contract.streams.Format` decides."""
        accepts = next((value for name, value in self._job.headers() if name == "accept"), "")
        self._format = Format(self._result, accepts, "" if first is None else first)
        return [("content-type", self._format.content_type), answers.RUN_OK, *_UNBUFFERED, *self._job.tail]

    def encode(self, piece: Any) -> bytes:
        """As the format writes it."""
        return self._format.encode(piece)

    def failure(self, message: str) -> bytes:
        """As the format writes it."""
        return self._format.failure(message)


class ResponseForm:
    """A ``@rawhttp`` script's own response."""

    def __init__(self, job: Job, response: Any, seconds: float) -> None:
        self.status: int = response.status_code
        self._headers = response_headers(job, response, seconds)

    def begin(self, _first: Any) -> Headers:
        """The response's."""
        return self._headers

    @staticmethod
    def encode(piece: Any) -> bytes:
        """Text or bytes, as they are."""
        return piece.encode() if isinstance(piece, str) else bytes(piece)

    @staticmethod
    def failure(_message: str) -> bytes:
        """Nobody knows what the script's format has for it."""
        return b""


class TaskForm:
    """A task's messages."""

    status = 200

    def __init__(self, job: Job) -> None:
        self._job = job

    def begin(self, _first: Any) -> Headers:
        """The ids."""
        return self._job.tail

    def encode(self, piece: Any) -> bytes:
        """As the task writes it."""
        assert self._job.encode is not None  # noqa: S101 - it comes with the task
        try:
            return self._job.encode(piece)[1]
        except (BadInputError, NotSerializableError):
            raise
        except Exception as error:
            raise NotSerializableError(f"A piece cannot be written: {error}") from error

    @staticmethod
    def failure(message: str) -> bytes:
        """As every error; the transport knows how its clients read it."""
        return answers.error(message)


class Outlet:
    """One answer on its way to its client."""

    def __init__(self, job: Job, seat: Seat, replies: Replies, form: Form) -> None:
        self._job = job
        self._seat = seat
        self._replies = replies
        self._form = form
        self._headers: Headers | None = None
        self._sink: Sink | None = None
        self._broken = False

    def write(self, piece: Any) -> bool:
        """Send one piece, the first one after the headers; False when there is nobody to send to."""
        encoded = self._encoded(piece)
        if not encoded:
            return True
        sink = self._opened()
        return sink is not None and (sink.send(encoded) or self._left())

    async def write_async(self, piece: Any) -> bool:
        """As :meth:`write`, without holding up the event loop."""
        encoded = self._encoded(piece)
        if not encoded:
            return True
        sink = self._opened()
        return sink is not None and (await sink.send_async(encoded) or self._left())

    def end(self) -> None:
        """The script has no more pieces."""
        if self._sink is None and self._claim():
            vacate(self._job, self._seat)
            headers = self._form.begin(None) if self._headers is None else self._headers
            self._job.exchange.respond(self._form.status, headers, b"")
            self._replies.sent(self._job, self._seat, self._form.status)

    def fail(self, error: BaseException) -> None:
        """The script failed, or its time is over."""
        job = self._job
        late = isinstance(error, (ScoringTimeoutError, asyncio.CancelledError))
        if self._sink is None:
            if late:
                self._replies.timed_out(job, self._seat)
            else:
                self._replies.unusable(job, self._seat, error)
            return
        kind, message = ErrorKind.SCRIPT, answers.SCRIPT_FAILED
        if late:
            kind, message = ErrorKind.TIMEOUT, answers.TOO_LONG
        elif isinstance(error, BadInputError):
            kind, message = ErrorKind.BAD_INPUT, str(error)
        elif isinstance(error, NotSerializableError):
            kind = ErrorKind.SERIALIZATION
        if kind is not ErrorKind.BAD_INPUT:
            _log.error("run() failed while streaming, request %s\n%s", request_id(job), user_traceback(error))
        self._seat.lane.failed(kind)
        self._broken = True
        vacate(job, self._seat)
        self._sink.abort(self._form.failure(message))

    def close(self) -> None:
        """The answer is over, however it went."""
        sink, self._sink = self._sink, None
        if sink is not None:
            if not self._broken:
                vacate(self._job, self._seat)
                sink.end()
            self._replies.sent(self._job, self._seat, self._form.status)

    def _encoded(self, piece: Any) -> bytes:
        end_if_forked()
        if self._headers is None:
            self._headers = self._form.begin(piece)
        # A first piece that cannot be written is found here, before the headers are gone.
        return self._form.encode(piece)

    def _opened(self) -> Sink | None:
        """The way to the client, from the first piece on that is not empty; None where it has its answer."""
        if self._sink is None and self._claim():
            self._sink = self._job.exchange.stream(self._form.status, self._headers or [])
        return self._sink

    def _claim(self) -> bool:
        taken = self._job.take_answer()
        if taken and failed(self._form.status):
            self._seat.lane.failed(ErrorKind.SCRIPT)
        return taken

    def _left(self) -> bool:
        self._seat.lane.failed(ErrorKind.DISCONNECTED)
        return False
