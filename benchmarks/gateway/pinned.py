"""The test rig with Envoy on cores of its own, so that what drives it takes nothing from what is measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import psutil

from gateway.bootstrap import write_bootstrap
from gateway.envoy import envoy_argv, find_envoy
from tests.integration.gateway.rig import Rig, until

_CORES = sorted(os.sched_getaffinity(0))
ENVOY_CORES = _CORES[: max(1, len(_CORES) // 2)]
OUR_CORES = _CORES[len(_CORES) // 2 :]


def pin_ourselves() -> None:
    """Keep this process, and what it starts, away from Envoy's cores."""
    os.sched_setaffinity(0, OUR_CORES)


class PinnedRig(Rig):
    """As :class:`Rig`. ``cold_seconds`` is how long its latest Envoy took from its start until it was ready."""

    cold_seconds = 0.0

    async def start_envoy(self) -> subprocess.Popen[bytes]:
        """A cold one."""
        write_bootstrap(self.settings)
        taskset = shutil.which("taskset")
        prefix = [taskset, "-c", ",".join(map(str, ENVOY_CORES))] if taskset else []
        with (self.folder / "envoy.log").open("ab") as log:
            begun = time.perf_counter()
            envoy = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
                [*prefix, *envoy_argv(self.settings, find_envoy())], stdout=log, stderr=log
            )
        self._envoys.append(envoy)
        await until(self.admin.ready, 60)
        self.cold_seconds = time.perf_counter() - begun
        return envoy

    async def replace_envoy(self) -> subprocess.Popen[bytes]:
        """Kill it, and start a cold one."""
        self._envoys[-1].kill()
        self._envoys[-1].wait()
        return await self.start_envoy()

    def resident(self) -> float:
        """Envoy's resident memory in MB."""
        return psutil.Process(self.envoy_pid).memory_info().rss / 2**20
