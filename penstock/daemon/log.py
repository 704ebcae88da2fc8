"""The log of a process, kept small without the process's help and without losing a line.

A process appends to a file it was given; no pipe leads to the control plane, which may die. To rotate, the oldest
part is copied to ``log.1`` and then cut out of the file *in place*: ``fallocate(COLLAPSE_RANGE)`` (ext4, xfs) removes
whole blocks at the front while writers append at the back, and no byte can fall between copy and cut, as it can with
logrotate's ``copytruncate``. Where a file system lacks that (btrfs, tmpfs), the blocks are given back by
``PUNCH_HOLE``: the file keeps its apparent size and starts with a hole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

_COLLAPSE_RANGE = 0x08
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_CHUNK = 1 << 16

Cut = Callable[[int, int], bool]
"""Gives back the first ``length`` bytes of a file descriptor; whether the file became shorter by them.

Raises OSError if it can not.
"""


def cut_front(fd: int, length: int) -> bool:
    """Remove the first ``length`` bytes (a multiple of the block size), or make them a hole (False).

    Raises:
        OSError: the file system can do neither.
    """
    try:
        _fallocate(fd, _COLLAPSE_RANGE, length)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, length)
        return False
    return True


class LogFile:
    """A log with its rotated parts (``log.1`` is the youngest), as one stream of bytes.

    Offsets count from what was the first byte of ``log`` when this object was made; older parts are negative. They
    stay valid over rotations made through the same object. Safe to use from several threads.
    """

    def __init__(self, path: Path, *, part_bytes: int = 16 * 1024 * 1024, parts: int = 2, cut: Cut = cut_front) -> None:
        """``path`` is rotated in parts of ``part_bytes`` (a multiple of 64 KiB); ``parts`` old ones are kept.

        So the log takes at most (parts + 1) x part_bytes, and what is written between two looks.
        """
        self.path = path
        self._part_bytes, self._parts, self._cut = part_bytes, parts, cut
        self._mutex = threading.Lock()
        self._base = 0
        """The offset of the file's first byte."""
        self._draft = path.with_name(path.name + ".draft")
        self._finish_interrupted()

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        with self._mutex:
            return self._base + _size(self.path)

    def rotate(self) -> int:
        """Cut off parts until the file is smaller than two; returns how many. Cheap when there is nothing to do.

        On a full disk the oldest part is dropped first; if even that gives no room, the new one is not kept.

        Raises:
            OSError: the file system can cut nothing off, or the disk fails.
        """
        done = 0
        with self._mutex, contextlib.suppress(FileNotFoundError):
            while _size(self.path) - self._hole() >= 2 * self._part_bytes:
                self._rotate_one()
                done += 1
        return done

    def read(self, offset: int, limit: int = 1 << 20) -> tuple[bytes, int]:
        """At most ``limit`` bytes from ``offset`` on, and the offset behind them.

        Where the bytes at ``offset`` are gone, reading goes on with the oldest there are.
        """
        with self._mutex:
            spans = self._spans()
            for path, start, length, skip in spans:
                if offset < start + length:
                    offset = max(offset, start)
                    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                        file.seek(offset - start + skip)
                        data = file.read(min(limit, start + length - offset))
                        return data, offset + len(data)
            # Beyond the end only if somebody emptied the file: go on from where it ends now.
            return b"", spans[-1][1] + spans[-1][2]

    def tail(self, lines: int) -> tuple[list[bytes], int]:
        """The last ``lines`` whole lines, and the offset behind them (of the line that is still being written)."""
        offset = end = self.end
        found = b""
        with self._mutex:
            oldest = self._spans()[0][1]
        while offset > oldest and found.count(b"\n") <= lines:
            start = max(oldest, offset - _CHUNK)
            found = self._exactly(start, offset) + found
            offset = start
        whole, newline, _ = found.rpartition(b"\n")
        end -= len(found) - len(whole) - len(newline)
        return (whole.split(b"\n")[-lines:] if newline and lines else []), end

    def _exactly(self, start: int, end: int) -> bytes:
        pieces = []
        while start < end:
            data, after = self.read(start, end - start)
            if not data:
                break
            pieces.append(data)
            start = after
        return b"".join(pieces)

    def _spans(self) -> list[tuple[Path, int, int, int]]:
        """Every part that exists, oldest first: path, offset of its first byte, length, bytes to skip in the file."""
        hole = self._hole()
        start = self._base + hole
        spans = [(self.path, start, max(0, _size(self.path) - hole), hole)]
        for number in range(1, self._parts + 1):
            part = self._part(number)
            if not (length := _size(part)):
                break
            start -= length
            spans.append((part, start, length, 0))
        return spans[::-1]

    def _rotate_one(self) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        hole = self._hole()
        try:
            kept = _copy_or_make_room(fd, hole, self._part_bytes, self._draft, self._part(self._parts))
            shorter = self._cut(fd, hole + self._part_bytes)
        except BaseException:
            self._draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        if shorter:
            self._base += hole + self._part_bytes
        if kept:
            self._keep_draft()

    def _keep_draft(self) -> None:
        for number in range(self._parts, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                self._part(number - 1).replace(self._part(number))
        self._draft.replace(self._part(1))

    def _finish_interrupted(self) -> None:
        """Killed in the middle of a rotation: the draft is a copy of the front, or all that is left of it."""
        if not self._draft.exists():
            return
        with self._draft.open("rb") as copy:
            copied = copy.read(_CHUNK)
        with self.path.open("rb") as file:
            file.seek(self._hole())
            still_there = file.read(len(copied)) == copied
        if still_there or _size(self._draft) != self._part_bytes:
            self._draft.unlink()
        else:
            self._keep_draft()

    def _part(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _hole(self) -> int:
        """Bytes at the front that were given back without shortening the file."""
        try:
            with self.path.open("rb") as file:
                return os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError:  # ENXIO: empty
            return 0


def _copy_or_make_room(source: int, start: int, length: int, draft: Path, oldest: Path) -> bool:
    for _ in range(2):
        try:
            _copy(source, start, length, draft)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            draft.unlink(missing_ok=True)
            oldest.unlink(missing_ok=True)
        else:
            return True
    return False


def _copy(source: int, start: int, length: int, draft: Path) -> None:
    with draft.open("wb") as target:
        end = start + length
        while start < end:
            start += os.sendfile(target.fileno(), source, start, end - start)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _fallocate(fd: int, mode: int, length: int) -> None:
    import ctypes  # noqa: PLC0415  # needed when a log has grown, not when the module is imported

    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate(fd, mode, 0, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
