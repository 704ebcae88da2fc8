"""What the gateway costs, on a real Envoy: ``python -m benchmarks.gateway.bench_gateway``.

Every figure is taken in this run, and the ones to keep are ratios: machines are noisy, and this one may be shared.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psutil

from benchmarks.gateway import bench_auth
from gateway.routes import DeploymentRoute, EndpointRoute
from tests.integration.gateway.load import Load
from tests.integration.gateway.rig import BEARER, Rig

CHANGES = 60


async def main() -> None:
    """Print every figure."""
    _say("gateway: a weight change, from the call until a request sees it (ms, median / p95), and until the last ACK")
    medians: dict[int, float] = {}
    for endpoints in (10, 1_000):
        async with _rig_with(endpoints) as (rig, route):
            seen, acked = await _weight_changes(rig, route)
            medians[endpoints] = statistics.median(seen)
            p95 = statistics.quantiles(seen, n=20)[-1]
            _say(
                f"  {endpoints:>5} endpoints: {medians[endpoints]:.2f} / {p95:.2f}, ACK {statistics.median(acked):.2f}"
            )
            memory = await rig.admin.memory()
            resident = psutil.Process(rig.envoy_pid).memory_info().rss
            _say(f"        Envoy: {memory.allocated / 2**20:.0f} MB in use, {resident / 2**20:.0f} MB resident")
            _say(f"        this process, which holds the router and its ADS server: {_own_megabytes():.0f} MB resident")
    _say(f"  ratio 1,000 to 10: {medians[1_000] / medians[10]:.2f} (aim: at most 3)")
    await bench_auth.main()


async def _weight_changes(rig: Rig, route: EndpointRoute) -> tuple[list[float], list[float]]:
    """Milliseconds until a request sees each change, and until apply returns.

    The change moves everything at once, so that the first answer of the other deployment marks the moment.
    """
    load = Load(rig.settings.listen_port, f"/endpoints/{route.name}/score", dict(BEARER), connections=1, seen=[])
    task = asyncio.create_task(load.run())
    seen: list[float] = []
    acked: list[float] = []
    assert load.seen is not None
    for step in range(CHANGES):
        target = ("green", "blue")[step % 2]
        await asyncio.sleep(0.01)
        load.seen.clear()
        start = time.perf_counter()
        await rig.router.apply(replace(route, weights=((target, 100),)))
        acked.append((time.perf_counter() - start) * 1000)
        while not (hit := next((at for at, name in load.seen if name == target), None)):
            await asyncio.sleep(0.0005)
        seen.append((hit - start) * 1000)
    load.stop()
    await task
    assert load.failures == 0
    return seen, acked


@asynccontextmanager
async def _rig_with(endpoints: int) -> AsyncIterator[tuple[Rig, EndpointRoute]]:
    async with Rig() as rig:
        blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
        filler: tuple[DeploymentRoute, ...] = (blue, green)
        routes = [rig.endpoint(*filler, name=f"e{n}", blue=90, green=10) for n in range(endpoints)]
        started = time.perf_counter()
        await asyncio.gather(*(rig.router.apply(route) for route in routes))
        elapsed = time.perf_counter() - started
        each = elapsed / endpoints * 1000
        _say(f"  {endpoints:>5} endpoints created at once in {elapsed:.2f} s ({each:.1f} ms each)")
        yield rig, rig.endpoint(blue, green, name=f"e{endpoints - 1}", blue=100)


def _own_megabytes() -> float:
    return psutil.Process().memory_info().rss / 2**20


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
