"""Failures of preparations and launches, in one sentence each."""

from __future__ import annotations

import errno

from controlplane.domain.ports import PreparationError

_DETAIL_CHARACTERS = 8000


def disk_error(error: OSError, doing: str) -> PreparationError:
    """``error`` while ``doing`` ("writing the instance's files"), told apart by whether trying again may help."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PreparationError("DiskFull", f"the disk is full: {doing} failed", detail=str(error), transient=True)
    return PreparationError("DiskError", f"{doing} failed: {error.strerror or error}", detail=str(error))


def end_of(text: str) -> str:
    """The last of a long output, whole lines only."""
    if len(text) <= _DETAIL_CHARACTERS:
        return text.strip()
    return text[-_DETAIL_CHARACTERS:].partition("\n")[2].strip()
