"""`kill -9` at any moment: what was answered is there, whole, and nothing else is half there."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform import open_platform

ROOT = Path(__file__).parents[3]
KILLS = 5


def accepted_until_killed(folder: Path, round_: int, chance: random.Random) -> list[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.store.killed", str(folder), str(1 + round_ * 10_000)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        accepted = [process.stdout.readline().strip() for _ in range(chance.randint(1, 60))]
        process.kill()
        return accepted + process.stdout.read().split()


@pytest.mark.integration
async def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    chance = random.Random(7)
    accepted = [name for round_ in range(KILLS) for name in accepted_until_killed(tmp_path, round_, chance)]
    raw = sqlite3.connect(tmp_path / "penstock.db")
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()
    platform = await open_platform(tmp_path)
    trees = await platform.desired.endpoints()
    names = {tree.endpoint.name for tree in trees}
    assert all(accepted)
    assert set(accepted) <= names
    assert len(names - set(accepted)) <= KILLS  # committed, and killed before it could be said
    async with platform.store.read() as transaction:
        operations = await transaction.operations.page(None, 1000)
        audited = await transaction.audit.newest(1000)
        sealed = [await transaction.endpoints.sealed(tree.endpoint.uid) for tree in trees]
    assert {operation.target for operation in operations} == {f"endpoints/{name}" for name in names}
    assert {event.target for event in audited} == {f"endpoints/{name}" for name in names}
    assert all(set(keys) == {"primary", "secondary"} for keys in sealed)
    await platform.store.close()
