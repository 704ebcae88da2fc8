"""How long `penstock up` takes to be ready, and what a platform costs that has nothing to do.

Goals of the project: ready in under 3 s; control plane and Envoy together under 250 MB and under 1 % of a core.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.e2e.files import serve
from tests.e2e.platform import Platform, new_platform, remove

STARTS = 5
IDLE_SECONDS = 30.0


def main() -> None:
    """Print the figures."""
    print(f"load of the machine: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    platform = new_platform()
    try:
        first = _start(platform)
        print(f"`up` to ready, on a new home: {first:.2f} s")
        print(_idle(platform, "no endpoint"))
        with tempfile.TemporaryDirectory() as folder:
            serve(platform, Path(folder), "house", "blue", instances=2)
        print(_idle(platform, "one endpoint, two instances"))
        again = []
        for _ in range(STARTS):
            platform.stop()
            again.append(_start(platform))
        print(f"`up` to ready, with one endpoint: median {statistics.median(again):.2f} s, best {min(again):.2f} s")
        adopted = []
        for _ in range(STARTS):
            platform.kill()
            adopted.append(_start(platform))
        print(f"the same after kill -9, adopting what runs: median {statistics.median(adopted):.2f} s")
        cpu = sum(psutil.Process(_pid(platform)).cpu_times()[:2])
        print(f"processor time of the control plane until ready: {cpu:.2f} s")
    finally:
        platform.destroy()
        remove(platform)


def _start(platform: Platform) -> float:
    begun = time.perf_counter()
    platform.start()
    return time.perf_counter() - begun


def _pid(platform: Platform) -> int:
    assert platform.process is not None
    return platform.process.pid


def _idle(platform: Platform, what: str) -> str:
    """Memory and processor time of the control plane and of Envoy, over :data:`IDLE_SECONDS` without a request."""
    time.sleep(3)
    ours = [p for p in platform.processes() if p.pid == _pid(platform) or p.name() == "envoy"]
    before = [sum(p.cpu_times()[:2]) for p in ours]
    time.sleep(IDLE_SECONDS)
    shares = [100 * (sum(p.cpu_times()[:2]) - then) / IDLE_SECONDS for p, then in zip(ours, before, strict=True)]
    pss, rss = ([getattr(p.memory_full_info(), kind) / 2**20 for p in ours] for kind in ("pss", "rss"))
    each = "; ".join(
        f"{'Envoy' if p.name() == 'envoy' else 'control plane'} PSS {a:.0f} MB, RSS {b:.0f} MB, {c:.2f} %"
        for p, a, b, c in zip(ours, pss, rss, shares, strict=True)
    )
    total = f"together {sum(pss):.0f} MB (RSS {sum(rss):.0f} MB), {sum(shares):.2f} % of a core"
    return f"idle for {IDLE_SECONDS:g} s, {what}: {total} ({each})"


if __name__ == "__main__":
    main()
