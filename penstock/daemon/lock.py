"""A lock that lives exactly as long as a process and its heirs.

It is an *open file description* lock: it belongs to the open file, is inherited over fork and exec, and goes when the
last process that holds the file goes, however that ends. Taking it before the fork closes the gap in which two
starters could each believe to be the first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

_FLOCK = "hhqqi0q"  # struct flock on 64-bit Linux: type, whence, start, length, pid, and the padding behind


def acquire(path: Path) -> int | None:
    """Open and lock ``path``; the descriptor holds the lock. None if somebody else has it.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole_file())
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return fd


def is_held(path: Path) -> bool:
    """Whether anybody has the lock. Looks without taking it, so that it disturbs no starter."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file())
    finally:
        os.close(fd)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _whole_file() -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
