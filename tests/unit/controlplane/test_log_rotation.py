from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from controlplane.log_rotation import LogRotation
from penstock.daemon import LogFile

PART = 64 * 1024
pytestmark = pytest.mark.looptime


def full_disk(_fd: int, _length: int) -> bool:
    raise OSError(errno.EIO, "Input/output error")


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_blocks * 512 for path in folder.iterdir()}


async def test_logs_stay_small_whatever_becomes_of_the_one_before(tmp_path: Path, looptime: object) -> None:
    (tmp_path / "bad").write_bytes(os.urandom(4 * PART))
    (tmp_path / "good").write_bytes(os.urandom(10 * PART))
    names = [LogFile(tmp_path / "absent"), LogFile(tmp_path / "bad", part_bytes=PART, cut=full_disk)]
    rotation = LogRotation([*names, LogFile(tmp_path / "good", part_bytes=PART, parts=2)])
    rotation.start()
    await asyncio.sleep(95)
    await rotation.close()
    taken = sizes(tmp_path)
    assert sorted(taken) == ["bad", "good", "good.1", "good.2"]
    assert taken["good"] < 2 * PART
    assert taken["bad"] == 4 * PART
