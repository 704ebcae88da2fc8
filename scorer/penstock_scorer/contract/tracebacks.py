"""A user's traceback without our frames above it: what the user wrote, where it broke."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = str(Path(__file__).resolve().parent.parent)


def user_traceback(error: BaseException) -> str:
    """The traceback of ``error`` and its causes, less the scorer's and the import machinery's frames."""
    formatted = traceback.TracebackException.from_exception(error)
    _trim(formatted, set())
    return "".join(formatted.format()).rstrip()


def _trim(error: traceback.TracebackException, seen: set[int]) -> None:
    if id(error) in seen:
        return
    seen.add(id(error))
    error.stack = traceback.StackSummary.from_list([frame for frame in error.stack if not _ours(frame.filename)])
    for cause in (error.__cause__, error.__context__):
        if cause is not None:
            _trim(cause, seen)


def _ours(filename: str) -> bool:
    return filename.startswith((_OURS, "<frozen importlib"))
