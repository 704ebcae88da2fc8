"""What 10, 1,000 and 5,000 endpoints of two deployments cost, on a real Envoy pinned to cores of its own.

Goals: a weight change seen by a request under 5 ms at the median at each size, a new endpoint's first 200 under 30 ms,
a cold Envoy complete in under 4 s at 5,000 with less than 600 MB. Where others use the machine, the seconds of CPU that
a cold Envoy took tell more than those on the wall.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import replace

import psutil

from benchmarks.gateway.pinned import ENVOY_CORES, OUR_CORES, PinnedRig, pin_ourselves
from gateway import journal
from gateway.routes import EndpointRoute
from tests.integration.gateway.load import Load
from tests.integration.gateway.rig import BEARER, KEY

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SIZES", "10 1000 5000").split())
CHANGES = 60
NEW_ENDPOINTS = 30


async def main() -> None:
    """Print every figure."""
    print(f"Envoy on cores {ENVOY_CORES}, everything else on {OUR_CORES}; load average {os.getloadavg()[0]:.1f}")
    medians: dict[int, float] = {}
    for size in SIZES:
        medians[size] = await _measure(size)
    if len(medians) > 1:
        small, *_, large = SIZES
        print(f"a weight change, {large:,} endpoints to {small}: {medians[large] / medians[small]:.2f} times")


async def _measure(size: int) -> float:
    before = _own_megabytes()
    async with PinnedRig() as rig:
        rig.settings = replace(rig.settings, snapshot_file=rig.folder / "snapshot")
        blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
        routes = tuple(rig.endpoint(blue, green, name=f"e{n}", blue=90, green=10) for n in range(size))
        begun = time.perf_counter()
        await rig.restart_control_plane(*routes)
        preloaded = time.perf_counter() - begun
        await rig.replace_envoy()
        cpu = sum(psutil.Process(rig.envoy_pid).cpu_times()[:2])
        assert (await rig.get(f"/endpoints/e{size - 1}/score")).is_success
        memory = await rig.admin.memory()
        print(
            f"{size:>6} endpoints: cold Envoy complete in {rig.cold_seconds:.2f} s, {cpu:.2f} s of CPU (goal: 4);",
            end=" ",
        )
        print(f"{rig.resident():.0f} MB resident, {memory.allocated / 2**20:.0f} MB in use (goal: 600)")
        snapshot = rig.settings.snapshot_file
        assert snapshot is not None
        print(f"        snapshot of {snapshot.stat().st_size / 2**20:.1f} MB;", end=" ")
        begun = time.perf_counter()
        assert journal.load(snapshot) is not None
        print(f"read in {time.perf_counter() - begun:.2f} s, written with the preloading in {preloaded:.2f} s")
        seen, acked = await _weight_changes(rig, rig.endpoint(blue, green, name=f"e{size - 1}", blue=100))
        median, p95 = statistics.median(seen), statistics.quantiles(seen, n=20)[-1]
        print(f"        a weight change seen by a request: {median:.2f} ms, p95 {p95:.2f} (goal: 5);", end=" ")
        print(f"until every ACK {statistics.median(acked):.2f} ms")
        new = (rig.endpoint(blue, green, name=f"n{n}", blue=90, green=10) for n in range(NEW_ENDPOINTS))
        first = [await _first_answer(rig, route) for route in new]
        median_first, p95_first = statistics.median(first), statistics.quantiles(first, n=20)[-1]
        print(f"        a new endpoint's first 200: {median_first:.1f} ms, p95 {p95_first:.1f} (goal: 30)")
        print(f"        after these changes: Envoy {rig.resident():.0f} MB resident; router and ADS server", end=" ")
        print(f"{_own_megabytes() - before:.0f} MB over this process's {before:.0f}")
    return median


async def _weight_changes(rig: PinnedRig, route: EndpointRoute) -> tuple[list[float], list[float]]:
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


async def _first_answer(rig: PinnedRig, route: EndpointRoute) -> float:
    """Milliseconds from the call until a request to a new endpoint gets 200. Requests before that get 404."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
    request = f"GET /endpoints/{route.name}/score HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
    start = time.perf_counter()
    applied = asyncio.create_task(rig.router.apply(route))
    status = b""
    while status != b"200":
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
    taken = (time.perf_counter() - start) * 1000
    writer.close()
    await applied
    return taken


def _own_megabytes() -> float:
    return psutil.Process().memory_info().rss / 2**20


if __name__ == "__main__":
    pin_ourselves()
    asyncio.run(main())
