"""Envoy as a process: replaced without losing a request, started again when it dies, found again by a successor."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controlplane.gateway_process import GatewayProcess, HotRestartError, RestartUnderWayError
from gateway.envoy import find_envoy
from tests.integration.gateway.kept_rig import KeptRig
from tests.integration.gateway.rig import until

pytestmark = pytest.mark.integration

SLOW_MS = 1500


@pytest.fixture
async def rig() -> AsyncIterator[KeptRig]:
    async with KeptRig() as rig:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1", "b2"), blue=100))
        yield rig


async def one_left(process: GatewayProcess) -> bool:
    return len(process._epochs.running()) == 1


async def test_a_hot_restart_loses_no_request(rig: KeptRig) -> None:
    """Requests of 1.5 s among them, so that some are in flight at every moment of it, and changes go on."""
    slow_path = f"/endpoints/e/slow/{SLOW_MS}"
    pids = [rig.process.pid]
    async with rig.under_load() as load, rig.under_load(slow_path, connections=16) as slow:
        for round_ in range(2):
            info = await rig.process.restart()
            assert (info.epoch, info.live) == (round_ + 1, True)
            pids.append(rig.process.pid)
            name = f"f{round_}"
            await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), name=name, blue=100))
            assert (await rig.get(f"/endpoints/{name}/score")).status_code == 200
            with pytest.raises(RestartUnderWayError):
                await rig.process.restart()
            await until(lambda: one_left(rig.process), 30)
    assert (load.failures, load.broken, slow.failures, slow.broken) == (0, [], 0, [])
    assert load.total > 1000
    assert slow.total > 16
    assert len(set(pids)) == 3
    assert len(rig.router._server.streams) == 1


async def test_an_envoy_that_dies_is_started_at_once(rig: KeptRig) -> None:
    for _ in range(2):
        pid = rig.process.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: rig.process.pid not in {0, pid}, 5)
        await until(rig.admin.ready, 10)
        assert (await rig.get("/endpoints/e/score")).status_code == 200


async def test_one_that_dies_while_its_predecessor_finishes(rig: KeptRig) -> None:
    await rig.process.restart()
    assert len(rig.process._epochs.running()) == 2
    newer = rig.process.pid
    os.kill(newer, signal.SIGKILL)
    await until(lambda: len(rig.process._epochs.running()) == 1 and rig.process.pid != newer, 10)
    await until(rig.admin.ready, 10)
    assert (await rig.get("/endpoints/e/score")).status_code == 200
    assert (await rig.admin.info()).epoch == 0


async def test_a_predecessor_that_dies_before_its_time_takes_nobody_with_it(rig: KeptRig) -> None:
    """Envoy aborts when it cannot tell its parent to end; something must be there to be told."""
    former = rig.process.pid
    async with rig.under_load() as load:
        await rig.process.restart()
        newer = rig.process.pid
        load.broken.clear()
        os.kill(former, signal.SIGKILL)
        await asyncio.sleep(rig.process._parent_seconds() + 1)
        assert rig.process.pid == newer
        await rig.process.restart()
        assert (await rig.admin.info()).epoch == 2
    assert rig.process.pid != newer


async def test_a_successor_adopts_the_newest(rig: KeptRig) -> None:
    """Killed in the middle of a hot restart, too: Envoy finishes it by itself."""
    slow = asyncio.create_task(rig.get(f"/endpoints/e/slow/{SLOW_MS}"))
    await asyncio.sleep(0.1)
    await rig.process.restart()
    pid = rig.process.pid
    await rig.process.close()
    rig.process = rig.keeper()
    await rig.process.start()
    await rig.process.wait_ready(5)
    assert rig.process.pid == pid
    assert (await slow).status_code == 200
    await until(lambda: one_left(rig.process), 30)
    assert rig.process.pid == pid


async def test_other_settings_replace_it_under_load(rig: KeptRig) -> None:
    await rig.process.close()
    pid = rig.process.pid
    async with rig.under_load() as load:
        rig.process = rig.keeper(replace(rig.settings, max_heap_bytes=512 * 1024 * 1024))
        await rig.process.start()
        await until(lambda: rig.process.pid != pid, 10)
        await until(lambda: one_left(rig.process), 30)
    assert load.failures == 0
    assert (await rig.get("/endpoints/e/score")).status_code == 200


async def test_an_upgraded_binary_replaces_it(tmp_path: Path) -> None:
    program = tmp_path / "envoy"
    shutil.copy(find_envoy(), program)
    rig = KeptRig()
    rig.process._binary = program
    async with rig:
        pid = rig.process.pid
        await rig.process.close()
        rig.process = rig.keeper()
        rig.process._binary = program
        await rig.process.start()
        await asyncio.sleep(0.2)
        assert rig.process.pid == pid  # the same program is adopted
        await rig.process.close()
        program.unlink()
        shutil.copy(find_envoy(), program)
        rig.process = rig.keeper()
        rig.process._binary = program
        await rig.process.start()
        await until(lambda: rig.process.pid != pid, 10)


async def test_a_new_one_that_cannot_start_changes_nothing(rig: KeptRig, tmp_path: Path) -> None:
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho this is no gateway; exit 1\n")
    broken.chmod(0o755)
    rig.process._binary, pid = broken, rig.process.pid
    async with rig.under_load() as load:
        with pytest.raises(HotRestartError, match="this is no gateway"):
            await rig.process.restart()
    assert load.failures == 0
    assert rig.process.pid == pid
    assert psutil.pid_exists(pid)


async def test_stopping_lets_requests_of_both_finish(rig: KeptRig) -> None:
    slow = asyncio.create_task(rig.get(f"/endpoints/e/slow/{SLOW_MS}"))
    await asyncio.sleep(0.1)
    await rig.process.restart()
    await rig.process.stop()
    assert (await slow).status_code == 200
    assert rig.process.pid == 0
