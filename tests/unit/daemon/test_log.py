"""Rotation without a lost byte, by both ways to cut."""

import errno
import os
import threading
from pathlib import Path

import pytest

from penstock.daemon import LogFile, log
from penstock.daemon.log import cut_front

PART = 64 * 1024


def punch(fd: int, length: int) -> bool:
    """What `cut_front` does where the file system cannot collapse."""
    log._fallocate(fd, log._PUNCH_HOLE_KEEP_SIZE, length)
    return False


@pytest.fixture(params=[cut_front, punch])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "log", part_bytes=PART, parts=2, cut=request.param)


def append(file: LogFile, content: bytes) -> None:
    with file.path.open("ab") as opened:
        opened.write(content)


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(start, end))


def everything(file: LogFile, start: int = -(1 << 40)) -> bytes:
    pieces: list[bytes] = []
    offset = start
    while True:
        data, offset = file.read(offset, limit=10_000)
        if not data:
            return b"".join(pieces)
        pieces.append(data)


def test_small_file_is_left_alone(file: LogFile) -> None:
    append(file, b"x" * (2 * PART - 1))
    assert file.rotate() == 0
    assert [p.name for p in file.path.parent.iterdir()] == ["log"]


def test_a_file_that_does_not_exist_yet_is_empty(file: LogFile) -> None:
    assert file.rotate() == 0
    assert file.read(0) == (b"", 0)
    assert file.tail(5) == ([], 0)


def test_rotation_loses_nothing_and_keeps_offsets(file: LogFile) -> None:
    content = numbered(0, 20_000)
    append(file, content[:150_000])
    _, offset = file.read(0, limit=1000)
    assert file.rotate() == 1
    append(file, content[150_000:])
    assert file.rotate() == 1
    assert everything(file) == content
    assert file.read(offset, limit=50)[0] == content[1000:1050]


def test_disk_use_is_bounded(file: LogFile) -> None:
    for start in range(0, 100_000, 10_000):
        append(file, numbered(start, start + 10_000))
        file.rotate()
    used = sum(path.stat().st_blocks * 512 for path in file.path.parent.iterdir())
    assert used <= 5 * PART
    assert everything(file).endswith(numbered(90_000, 100_000))


def test_a_writer_that_never_pauses_loses_no_line(file: LogFile) -> None:
    file = LogFile(file.path, part_bytes=PART, parts=100, cut=file._cut)
    total = 200_000

    def write() -> None:
        fd = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for start in range(0, total, 20):
            os.write(fd, numbered(start, start + 20))
        os.close(fd)

    writer, seen, offset = threading.Thread(target=write), [], 0
    writer.start()
    rotations = 0
    while True:
        alive = writer.is_alive()
        rotations += file.rotate()
        data, offset = file.read(offset, limit=1 << 24)
        seen.append(data)
        if not alive and not data:
            break
    assert rotations > 3
    assert b"".join(seen) == numbered(0, total)


def test_tail_reaches_into_rotated_parts(file: LogFile) -> None:
    append(file, numbered(0, 30_000))
    file.rotate()
    assert file.rotate() == 0
    lines, end = file.tail(12_000)
    assert lines == numbered(18_000, 30_000).splitlines()
    assert end == file.end


def test_tail_waits_for_the_end_of_a_line(file: LogFile) -> None:
    append(file, b"one\ntwo\nthr")
    lines, end = file.tail(1)
    assert (lines, end) == ([b"two"], 8)
    append(file, b"ee\n")
    assert file.read(end) == (b"three\n", 14)
    assert file.tail(0)[0] == []


def test_reading_goes_on_after_somebody_emptied_the_file(file: LogFile) -> None:
    append(file, b"old\n" * 100)
    end = file.end
    file.path.write_bytes(b"")
    _, offset = file.read(end)
    append(file, b"new\n")
    assert file.read(offset)[0] == b"new\n"


@pytest.mark.parametrize("was_cut", [False, True])
def test_killed_in_the_middle_of_a_rotation(file: LogFile, was_cut: bool) -> None:
    content = numbered(0, 20_000)
    append(file, content)
    file._draft.write_bytes(content[:PART])
    if was_cut:
        fd = os.open(file.path, os.O_RDWR)
        file._cut(fd, PART)
        os.close(fd)
    assert everything(LogFile(file.path, part_bytes=PART)) == content


def test_a_full_disk_gives_up_the_oldest_lines_and_not_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(tmp_path / "log", part_bytes=PART)
    append(file, numbered(0, 20_000))

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    assert file.rotate() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert file.path.stat().st_blocks * 512 < 3 * PART
    assert everything(file).endswith(b"line 19999\n")
