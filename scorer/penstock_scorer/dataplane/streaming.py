"""Sending a result piece by piece, as the script makes it.

The first piece is waited for before anything is sent, so a script that fails at once still gets a proper error.
A failure later ends the stream abnormally: with an ``error`` event or line where the format has one, and with the
connection cut. A client that leaves ends the script's generator (``close``, so that its
``finally`` runs) at the next piece.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from penstock_scorer.contract.results import NotSerializableError
from penstock_scorer.contract.streams import Format
from penstock_scorer.contract.tracebacks import user_traceback
from penstock_scorer.dataplane import answers
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.dataplane.limits import ScoringTimeoutError
from penstock_scorer.dataplane.replies import Replies, Seat, request_id
from penstock_scorer.telemetry.metrics import ErrorKind

_log = logging.getLogger("penstock_scorer")
_END = object()
# Nothing between us and the client may hold a piece back.
_UNBUFFERED: Headers = [("cache-control", "no-cache"), ("x-accel-buffering", "no")]


class Outlet:
    """One stream on its way to its client."""

    def __init__(self, job: Job, seat: Seat, replies: Replies, result: Any) -> None:
        self._job = job
        self._seat = seat
        self._replies = replies
        self._result = result
        self._format: Format
        self._send: Callable[[bytes], bool] | None = None

    def write(self, piece: Any) -> bool:
        """Send one piece, the first one after the headers; False when there is nobody to send to."""
        if self._send is None and not self._open(piece):
            return False
        assert self._send is not None  # noqa: S101 - said to mypy
        if self._send(self._format.encode(piece)):
            return True
        self._seat.lane.failed(ErrorKind.DISCONNECTED)
        return False

    def end(self) -> None:
        """The script has no more pieces."""
        if self._send is None:
            self._open("")
        self.close()

    def fail(self, error: BaseException) -> None:
        """The script failed, or its time is over."""
        job, lane = self._job, self._seat.lane
        late = isinstance(error, (ScoringTimeoutError, asyncio.CancelledError))
        if self._send is None:
            if late:
                self._replies.timed_out(job, self._seat)
            elif isinstance(error, NotSerializableError):
                self._replies.not_serializable(job, self._seat, error)
            else:
                self._replies.script_failed(job, self._seat, error)
            return
        _log.error("run() failed while streaming, request %s\n%s", request_id(job), user_traceback(error))
        unsendable = isinstance(error, NotSerializableError)
        lane.failed(ErrorKind.TIMEOUT if late else ErrorKind.SERIALIZATION if unsendable else ErrorKind.SCRIPT)
        last = self._format.failure("The answer took too long." if late else answers.SCRIPT_FAILED)
        if last:
            self._send(last)
        job.exchange.abort(self._send)

    def close(self) -> None:
        """The stream is over, however it went."""
        if self._send is not None:
            self._send = None
            self._replies.sent(self._job, self._seat, 200)

    def _open(self, first: Any) -> bool:
        job = self._job
        accepts = next((value for name, value in job.headers() if name == "accept"), "")
        self._format = Format(self._result, accepts, first)
        # A piece that cannot be written is found before the headers are gone.
        self._format.encode(first)
        if not job.take_answer():
            return False
        headers = [("content-type", self._format.content_type), answers.RUN_OK, *_UNBUFFERED, *job.tail]
        self._send = job.exchange.stream(200, headers)
        return True


def send(pieces: Iterator[Any], outlet: Outlet) -> None:
    """Stream a plain iterator in the calling thread.

    Raises:
        ScoringTimeoutError, SystemExit: raised by the script; the stream has been ended.
    """
    try:
        while (piece := next(pieces, _END)) is not _END:
            if not outlet.write(piece):
                return
        outlet.end()
    except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
        outlet.fail(error)
    except BaseException as error:
        outlet.fail(error)
        raise
    finally:
        outlet.close()
        _close(pieces)


async def send_async(pieces: AsyncIterator[Any], outlet: Outlet) -> None:
    """Stream an asynchronous iterator.

    Raises:
        CancelledError, SystemExit: the stream has been ended.
    """
    try:
        async for piece in pieces:
            if not outlet.write(piece):
                return
        outlet.end()
    except Exception as error:  # noqa: BLE001 - as in send
        outlet.fail(error)
    except BaseException as error:
        outlet.fail(error)
        raise
    finally:
        outlet.close()
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await _quietly(close())


def _close(pieces: Iterator[Any]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:  # noqa: BLE001 - its finally is a user's code too
            _log.error("run() failed while its stream was closed\n%s", user_traceback(error))


async def _quietly(closing: Any) -> None:
    try:
        await closing
    except Exception as error:  # noqa: BLE001 - as in _close
        _log.error("run() failed while its stream was closed\n%s", user_traceback(error))
