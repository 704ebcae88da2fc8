"""Envoy starts while the control plane is away: it serves the last state, and the control plane takes it over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from controlplane.snapshot_seal import SnapshotSeal
from controlplane.stand_in import NothingToServeError, StandIn, dismiss
from gateway import ads_socket, journal
from tests.integration.gateway.kept_rig import KeptRig
from tests.integration.gateway.rig import BEARER, until
from tests.integration.gateway.test_tls import address, made, trusting
from tests.support.ports import free_port

pytestmark = pytest.mark.integration


class LostRig(KeptRig):
    """A rig whose control plane can go away and come back, with its snapshot on disk."""

    def __init__(self, **settings: int) -> None:
        super().__init__(**settings)
        self.settings = replace(self.settings, snapshot_file=self.snapshot)
        self._control_plane()
        self.process = self.keeper()

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def seal(self) -> SnapshotSeal:
        return SnapshotSeal(self.folder / "master.key")

    async def lose(self) -> None:
        """``kill -9`` of the control plane: nobody watches Envoy, the ADS socket answers nobody."""
        await self.process.close()
        await self.router.stop()

    async def kill_envoy(self) -> None:
        pid = self.process.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.process.pid == 0)

    @contextlib.asynccontextmanager
    async def stand_in(self, *, stay: bool = False) -> AsyncIterator[asyncio.Task[None]]:
        # `penstock gateway start` is told nothing of the flags that the platform was started with.
        settings = replace(self.settings, tls_port=None)
        task = asyncio.create_task(StandIn(settings, self.keeper, self.seal).run(stay=stay))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def serves(self) -> bool:
        return bool(self.process.pid) and await self.admin.ready()


@pytest.fixture
async def rig() -> AsyncIterator[LostRig]:
    async with LostRig() as rig:
        blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
        await rig.router.apply(rig.endpoint(blue, blue=100))
        await rig.router.apply(rig.endpoint(blue, green, green=100))
        yield rig


async def test_a_cold_envoy_serves_the_last_state_and_is_taken_over_under_load(rig: LostRig) -> None:
    await rig.lose()
    await rig.kill_envoy()
    async with rig.stand_in() as standing:
        await until(rig.serves)
        pid = rig.process.pid
        async with rig.under_load() as load, rig.under_load("/endpoints/e/slow/1500", connections=4) as slow:
            await asyncio.sleep(0.2)
            route = rig.endpoint(rig.deployment("blue", "b1"), rig.deployment("green", "g1"), green=100)
            await rig.restart_control_plane(route)
            await asyncio.wait_for(standing, 5)
            await until(lambda: rig.router.status().connected == 1, 5)
            rig.process = rig.keeper()
            await rig.process.start()
            assert rig.process.pid == pid
            await rig.router.apply(route)
            assert await rig.admin.stat("cluster_manager.cluster_modified") == 0
            await rig.router.apply(replace(route, weights=(("blue", 100),)))
        assert (load.failures, slow.failures, load.broken, slow.broken) == (0, 0, [], [])
        assert load.deployments["green"] > 0
        assert load.deployments["blue"] > 0


async def test_what_was_deleted_meanwhile_is_gone_after_the_return(rig: LostRig) -> None:
    await rig.lose()
    await rig.kill_envoy()
    async with rig.stand_in():
        await until(rig.serves)
        assert (await rig.get("/endpoints/e/score")).status_code == 200
        await rig.restart_control_plane()
        await until(lambda: rig.router.status().connected == 1, 5)
        await until(lambda: rig.router.status().pending == (), 10)
        assert (await rig.get("/endpoints/e/score")).status_code == 404


async def test_it_stays_and_steps_in_again(rig: LostRig) -> None:
    route = rig.endpoint(rig.deployment("blue", "b1"), rig.deployment("green", "g1"), green=100)
    async with rig.stand_in(stay=True):
        for _ in range(2):
            pid = rig.process.pid
            await rig.lose()
            await until(lambda: ads_socket.answers(rig.settings.ads_socket))
            os.kill(pid, signal.SIGKILL)  # and looks after Envoy meanwhile
            await until(lambda pid=pid: rig.process.pid not in {0, pid})
            await until(rig.serves)
            assert (await rig.get("/endpoints/e/score")).json()["instance"] == "g1"
            await rig.restart_control_plane(route)
            await until(lambda: rig.router.status().connected == 1, 5)
            rig.process = rig.keeper()
            await rig.process.start()


async def test_a_stopped_platform_is_not_stood_in_for(rig: LostRig) -> None:
    await rig.lose()
    async with rig.stand_in(stay=True):
        await until(lambda: ads_socket.answers(rig.settings.ads_socket))
        await dismiss(rig.settings)
        assert not ads_socket.answers(rig.settings.ads_socket)
        await rig.process.stop()
        await asyncio.sleep(0.7)
        assert rig.process.pid == 0
    with pytest.raises(NothingToServeError, match="no state to serve"):
        await StandIn(rig.settings, rig.keeper).run(stay=False)


async def test_two_do_not_get_in_each_others_way(rig: LostRig) -> None:
    async with rig.stand_in() as early:
        await asyncio.wait_for(early, 5)  # the control plane is there
    await rig.lose()
    async with rig.stand_in() as first, rig.stand_in() as second:
        await asyncio.wait((first, second), timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert (first.done(), second.done()) in {(True, False), (False, True)}
        assert (await rig.get("/endpoints/e/score")).status_code == 200


async def test_the_snapshot_is_private_and_holds_no_key(rig: LostRig, tmp_path: Path) -> None:
    from tests.integration.gateway.rig import KEY  # noqa: PLC0415  # the planted one

    assert rig.snapshot.stat().st_mode & 0o777 == 0o600
    assert KEY.encode() not in rig.snapshot.read_bytes()
    assert journal.load(rig.snapshot) is not None


async def test_tls_is_served_too_and_its_key_lies_nowhere_in_clear(tmp_path: Path) -> None:
    files, certificate = made(tmp_path / "tls")
    rig = LostRig(tls_port=free_port())
    await rig.router.set_certificate(certificate)
    async with rig, httpx.AsyncClient(verify=trusting(files)) as client:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
        lines = files.key.read_bytes().splitlines()[1:-1]
        for file in rig.folder.rglob("*"):
            assert not (file.is_file() and any(line in file.read_bytes() for line in lines)), file
        await rig.lose()
        await rig.kill_envoy()
        async with rig.stand_in():
            await until(rig.serves)
            assert (await client.get(address(rig), headers=BEARER)).status_code == 200
            note = rig.folder / "stand-in.json"
            await until(note.exists)
            assert json.loads(note.read_bytes())["gateway"] == f"https://127.0.0.1:{rig.settings.tls_port}"
            # The control plane comes back with another; the stand-in had nothing to do with it.
            newer, renewed = made(tmp_path / "newer")
            await rig.restart_control_plane(rig.endpoint(rig.deployment("blue", "b1"), blue=100), certificate=renewed)
            await until(lambda: rig.router.status().connected == 1 and not rig.router.status().pending, 10)
            async with httpx.AsyncClient(verify=trusting(newer)) as fresh:

                async def shown() -> bool:
                    try:
                        return (await fresh.get(address(rig), headers=BEARER)).status_code == 200
                    except httpx.ConnectError:
                        return False  # Envoy says that it has a certificate before all its threads show it

                await until(shown, 5)
