"""From the pieces a script makes to an answer: one by one as they come, or gathered where the answer is one message.

A client that leaves ends the script's generator at the next piece: it is closed, so that its ``finally`` runs.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.tracebacks import user_traceback
from penstock_scorer.dataplane.job import Task
from penstock_scorer.dataplane.outlet import Outlet

_log = logging.getLogger("penstock_scorer")
_END = object()


def send(pieces: Iterator[Any], outlet: Outlet) -> None:
    """Send a plain iterator's pieces, in the calling thread.

    Raises:
        ScoringTimeoutError, SystemExit: raised by the script; the answer has been ended.
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
    """Send an asynchronous iterator's pieces.

    Raises:
        CancelledError, SystemExit: the answer has been ended.
    """
    try:
        async for piece in pieces:
            if not await outlet.write_async(piece):
                return
        outlet.end()
    except Exception as error:  # noqa: BLE001 - as in send
        outlet.fail(error)
    except BaseException as error:
        outlet.fail(error)
        raise
    finally:
        outlet.close()
        await _close_async(pieces)


def gather(pieces: Iterator[Any], task: Task) -> Any:
    """The pieces as one result.

    Raises:
        BadInputError: there are more than one answer can hold.
        Exception: the script's.
    """
    try:
        found = list(islice(pieces, task.most_pieces + 1))
    finally:
        _close(pieces)
    return _one(found, task)


async def gather_async(pieces: AsyncIterator[Any], task: Task) -> Any:
    """As :func:`gather`."""
    found: list[Any] = []
    try:
        async for piece in pieces:
            found.append(piece)
            if len(found) > task.most_pieces:
                break
    finally:
        await _close_async(pieces)
    return _one(found, task)


async def one_by_one(pieces: Iterator[Any]) -> AsyncIterator[Any]:
    """A plain iterator as an asynchronous one, on the event loop it would hold up anyway."""
    try:
        for piece in pieces:
            yield piece
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _one(found: list[Any], task: Task) -> Any:
    if len(found) > task.most_pieces:
        raise BadInputError(
            f"The script answers in more than {task.most_pieces} piece(s): ask with ModelStreamInfer, over gRPC."
        )
    return task.gathered(found)


def _close(pieces: Iterator[Any]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:  # noqa: BLE001 - its finally is a user's code too
            _log.error("run() failed while its stream was closed\n%s", user_traceback(error))


async def _close_async(pieces: AsyncIterator[Any]) -> None:
    close = getattr(pieces, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception as error:  # noqa: BLE001 - as in _close
            _log.error("run() failed while its stream was closed\n%s", user_traceback(error))
