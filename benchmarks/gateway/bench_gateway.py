"""What the gateway costs a request, on a real Envoy pinned to cores of its own.

Every figure is taken in this run, and the ones to keep are ratios: machines are noisy, and this one may be shared.
Goal: at most 0.3 ms more at the median than the instance takes by itself, with one connection. What auth costs is
:mod:`benchmarks.gateway.bench_auth`.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.gateway.pinned import PinnedRig, pin_ourselves
from tests.integration.gateway.rig import KEY

ROUNDS = 7
ONE_BY_ONE = 1_000


async def main() -> None:
    """Print every figure."""
    async with PinnedRig() as rig:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
        await _added_latency(rig)


async def _added_latency(rig: PinnedRig) -> None:
    through, direct = await _Client.tcp(rig.settings.listen_port), await _Client.unix(str(rig.folder / "b1"))
    taken: dict[str, list[float]] = {"through": [], "direct": []}
    for _ in range(ROUNDS):
        taken["through"] += await through.ask("/endpoints/e/score", ONE_BY_ONE)
        taken["direct"] += await direct.ask("/score", ONE_BY_ONE)
    gateway, instance = (statistics.median(taken[way]) for way in ("through", "direct"))
    print(f"one connection: {gateway:.3f} ms through the gateway, {instance:.3f} ms from the instance itself: ", end="")
    print(f"{gateway - instance:.3f} ms more at the median (goal: 0.3)")


class _Client:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def tcp(cls, port: int) -> _Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def unix(cls, path: str) -> _Client:
        return cls(*await asyncio.open_unix_connection(path))

    async def ask(self, path: str, count: int) -> list[float]:
        """Milliseconds of each."""
        request = f"GET {path} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
        taken = []
        for _ in range(count):
            start = time.perf_counter()
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await self._reader.readexactly(length)
            taken.append((time.perf_counter() - start) * 1000)
            assert b" 200 " in head[:20]
        return taken


if __name__ == "__main__":
    pin_ourselves()
    asyncio.run(main())
