"""A control plane killed at random points of starting and stopping leaves no orphan and starts nothing twice."""

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.domain.instances import InstanceState
from penstock.daemon import processes
from tests.contract.harness import FolderAssets, ProcessHarness, policy, template, until

pytestmark = pytest.mark.integration
IDS = ("abcdefghij01", "abcdefghij02")

DRIVER = """
import asyncio, sys
from pathlib import Path
from tests.contract.harness import FolderAssets, ProcessHarness, policy, template
home, what = Path(sys.argv[1]), sys.argv[2]
harness = ProcessHarness(home, FolderAssets(home / "blobs"))
async def main():
    backend, made = harness.make(), template(harness)
    preparation = await backend.prepare(made, lambda _: None)
    await backend.observe()
    print("go", flush=True)
    for instance in sys.argv[3:]:
        if what == "start":
            await backend.start(instance, made, preparation, policy())
        else:
            await backend.stop(instance, 5)
    print("done", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def harness() -> Iterator[ProcessHarness]:
    home = Path(tempfile.mkdtemp(prefix="psk-"))
    yield ProcessHarness(home, FolderAssets(home / "blobs"))
    shutil.rmtree(home)


async def killed_while(harness: ProcessHarness, what: str, seconds: float) -> None:
    driver = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DRIVER, harness.home, what, *IDS, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert driver.stdout is not None
    assert await driver.stdout.readline() == b"go\n"
    await asyncio.sleep(seconds)
    driver.kill()
    await driver.wait()


def leaders(harness: ProcessHarness) -> list[int]:
    """Processes of instances that lead a session: one for each instance, workers aside."""
    place = str(harness.home / "instances").encode()
    found = []
    for each in processes.everyone():
        try:
            environ = Path(f"/proc/{each.pid}/environ").read_bytes()
        except OSError:
            continue
        if place in environ and each.session == each.pid:
            found.append(each.pid)
    return found


async def test_killed_while_starting(harness: ProcessHarness) -> None:
    chance = random.Random(11)
    made = template(harness)
    await (first := harness.make()).prepare(made, lambda _: None)
    await first.close()
    for _ in range(12):
        await killed_while(harness, "start", chance.uniform(0, 0.03))
        successor = harness.make()
        before = await successor.observe()
        assert {seen.template_hash for seen in before.values()} <= {made.hash}
        for instance in IDS:
            await successor.start(instance, made, await successor.prepare(made, lambda _: None), policy())
        for instance in IDS:
            seen = await until(successor, instance, InstanceState.READY)
            if instance in before and before[instance].pid:
                assert seen.pid == before[instance].pid, "it ran, and was started again"
        assert len(leaders(harness)) == len(IDS)
        for instance in IDS:
            await successor.stop(instance, 5)
        await successor.close()
        assert harness.left() == []


async def test_killed_while_stopping(harness: ProcessHarness) -> None:
    chance = random.Random(12)
    made = template(harness)
    for _ in range(10):
        backend = harness.make()
        for instance in IDS:
            await backend.start(instance, made, await backend.prepare(made, lambda _: None), policy())
        for instance in IDS:
            await until(backend, instance, InstanceState.READY)
        await backend.close()
        await killed_while(harness, "stop", chance.uniform(0, 0.3))
        successor = harness.make()
        for instance in await successor.observe():
            await successor.stop(instance, 5)
        await successor.close()
        assert harness.left() == []
