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

import gateway.translate.listener as listener_module
from gateway.routes import DeploymentRoute, EndpointRoute
from gateway.translate import auth
from gateway.translate.filters import http_filters
from tests.integration.gateway.load import Load
from tests.integration.gateway.rig import BEARER, Rig

CHANGES = 60
ROUNDS = 5
REQUESTS = 6_000


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
    await _auth_cost()


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


async def _auth_cost() -> None:
    """CPU of Envoy for one request, with the key check and without; rounds alternate, so noise meets both alike."""
    _say(f"gateway: Envoy's CPU a request with the key check, and without any auth ({ROUNDS} rounds of {REQUESTS})")
    async with Rig() as with_keys:
        await with_keys.router.apply(with_keys.endpoint(with_keys.deployment("blue", "b1"), blue=100))
        # The same filters less those of auth: what is compared is the key check and its backstop, nothing else.
        kept = [f for f in http_filters() if f.name not in {auth.LUA_FILTER, auth.RBAC_FILTER}]
        filters = listener_module.filters
        filters.http_filters = lambda: kept
        try:
            without = Rig()
        finally:
            filters.http_filters = http_filters
        async with without:
            open_route = without.endpoint(without.deployment("blue", "b1"), blue=100)
            await without.router.apply(open_route)
            costs: dict[str, list[float]] = {"keys": [], "open": []}
            for _ in range(ROUNDS):
                costs["keys"].append(await _cpu_per_request(with_keys))
                costs["open"].append(await _cpu_per_request(without))
    keys, bare = statistics.median(costs["keys"]), statistics.median(costs["open"])
    _say(f"  keys {keys:.0f} us, no auth {bare:.0f} us: {bare / keys:.0%} of the requests a core serves without auth")


async def _cpu_per_request(rig: Rig) -> float:
    process = psutil.Process(rig.envoy_pid)
    load = rig.load(connections=16)
    load.limit = REQUESTS
    before = sum(process.cpu_times()[:2])
    await load.run()
    assert load.failures == 0
    return (sum(process.cpu_times()[:2]) - before) / REQUESTS * 1e6


def _own_megabytes() -> float:
    return psutil.Process().memory_info().rss / 2**20


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
