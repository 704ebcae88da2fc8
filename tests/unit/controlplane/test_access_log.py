"""The access log is renamed when it is large, and Envoy opens it anew, however often it has to be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.access_log import AccessLog
from gateway.admin import AdminUnreachableError


class Envoy:
    """Writes to the file it has open, whatever that is called by now."""

    def __init__(self, path: Path) -> None:
        self.path, self.away = path, False
        self.file = path.open("a")

    def say(self, line: str) -> None:
        self.file.write(f"{line}\n")
        self.file.flush()

    async def reopen(self) -> None:
        if self.away:
            raise AdminUnreachableError("it does not answer")
        self.file.close()
        self.file = self.path.open("a")


@pytest.fixture
def envoy(tmp_path: Path) -> Envoy:
    return Envoy(tmp_path / "access.log")


def contents(envoy: Envoy) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in sorted(envoy.path.parent.iterdir())}


async def test_so_many_old_ones_are_kept(envoy: Envoy) -> None:
    log = AccessLog(envoy.path, envoy.reopen, limit=4, kept=2)
    for line in ("one", "two", "three", "4"):
        envoy.say(line)
        await log.look()
    assert contents(envoy) == {"access.log": "4", "access.log.1": "three", "access.log.2": "two"}
    envoy.file.close()


async def test_an_envoy_that_did_not_answer_is_told_again(envoy: Envoy) -> None:
    log = AccessLog(envoy.path, envoy.reopen, limit=4, kept=2)
    envoy.say("one")
    envoy.away = True
    await log.look()
    envoy.say("two")
    assert contents(envoy) == {"access.log.1": "one\ntwo"}
    envoy.away = False
    await log.look()
    envoy.say("three")
    assert contents(envoy) == {"access.log": "three", "access.log.1": "one\ntwo"}
    envoy.file.close()
