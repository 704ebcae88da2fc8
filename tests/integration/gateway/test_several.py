"""Two real Envoys of different names on one control plane."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import replace

import pytest

from gateway.admin import Admin
from gateway.bootstrap import write_bootstrap
from gateway.envoy import envoy_argv, find_envoy
from gateway.inspection import ResourceState
from tests.integration.gateway.rig import Rig, until

pytestmark = pytest.mark.integration


class TwoRig(Rig):
    """A second Envoy beside the first. They share the port, as Envoys of one user may: the kernel deals connections."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = replace(self.settings, ack_timeout_s=1.0)
        self.router._settings = self.settings
        folder = self.folder / "2"
        folder.mkdir()
        self.second = replace(
            self.settings, node_id="second", admin_socket=folder / "admin", bootstrap_file=folder / "envoy.json"
        )

    async def start_second(self) -> subprocess.Popen[bytes]:
        write_bootstrap(self.second)
        envoy = subprocess.Popen(envoy_argv(self.second, find_envoy()), stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        self._envoys.append(envoy)
        await until(Admin(self.second.admin_socket).ready)
        return envoy

    def late(self) -> dict[str, bool]:
        return {view.node_id: view.late for view in self.router.gateways()}


async def test_both_have_everything_and_one_may_hang_or_die() -> None:
    async with TwoRig() as rig:
        second = await rig.start_second()
        blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
        await rig.router.apply(rig.endpoint(blue, green, blue=100))
        views = rig.router.gateways("e")
        assert {view.node_id for view in views} == {"gateway", "second"}
        assert {view.version for view in views} == {"1.40.0"}
        for view in views:
            assert {r.name for r in view.resources} == {"e", "e/blue", "e/green", "ep/e"}
            assert {r.state for r in view.resources} == {ResourceState.ACKED}

        os.kill(second.pid, signal.SIGSTOP)  # one that hangs
        begun = asyncio.get_running_loop().time()
        await rig.router.apply(rig.endpoint(blue, green, green=100))
        assert rig.late() == {"gateway": False, "second": True}
        for n in range(20):
            await rig.router.apply(rig.endpoint(blue, green, blue=n, green=100 - n))
        # The one timeout of a second, and not 20 more.
        assert asyncio.get_running_loop().time() - begun < 10

        os.kill(second.pid, signal.SIGCONT)
        await until(lambda: rig.late() == {"gateway": False, "second": False})
        first = rig._envoys[0]
        first.kill()  # one that dies; the other alone answers, in the latest state
        first.wait()
        await until(lambda: [view.node_id for view in rig.router.gateways()] == ["second"])
        await rig.router.apply(rig.endpoint(blue, green, green=100))
        assert {(await rig.get("/endpoints/e/score")).json()["instance"] for _ in range(5)} == {"g1"}
