"""What a weight change costs with many endpoints in the store: from the API call until a request sees it.

Store, API, reconcilers, ADS and Envoy are real; the scorers are one stub. Goals of the project: under 20 ms at the
median with 1,000 endpoints, and no more than 3 times what it costs with 10.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from penstock.aio import Client
from penstock.settings import Settings
from penstock.v1.deployment_pb2 import CodeConfiguration, Deployment
from penstock.v1.endpoint_pb2 import Endpoint
from tests.e2e.files import written
from tests.e2e.load import Tally, aim, run
from tests.e2e.platform import Platform, new_platform, remove

SIZES = (10, 1_000)
CHANGES = 60
AT_A_TIME = 16
DEPLOYMENTS = ("blue", "green")
_END = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"


async def main() -> None:
    """Print the figures."""
    medians = {}
    for size in SIZES:
        with _platform() as (platform, socket):
            async with _stub(socket), Client(settings=Settings(home=platform.home)) as client:
                took = await _fill(client, platform, size)
                print(f"{size:>5} endpoints, {2 * size} deployments: created in {took:.1f} s")
                await asyncio.sleep(2)
                seen, done = await _weight_changes(client, platform, "e000")
                medians[size] = statistics.median(seen)
                print(
                    f"      a weight change, from the API call until a request sees it: median {medians[size]:.1f} ms, "
                    f"p95 {statistics.quantiles(seen, n=20)[-1]:.1f} ms; until its operation is done: "
                    f"{statistics.median(done):.1f} ms"
                )
                print(f"      {_footprint(platform)}")
    small, large = SIZES
    print(f"ratio {large} to {small} endpoints: {medians[large] / medians[small]:.2f} (goal: at most 3; under 20 ms)")


@contextmanager
def _platform() -> Iterator[tuple[Platform, Path]]:
    platform = new_platform()
    socket = platform.home.parent / "stub.sock"
    ports = {"PENSTOCK_GATEWAY_PORT": str(platform.gateway_port), "PENSTOCK_API_PORT": str(platform.api_port)}
    platform.environment = {**ports, "PENSTOCK_HOME": str(platform.home)}
    command = [sys.executable, "-m", "benchmarks.platform.stubbed", str(socket)]
    platform.process = subprocess.Popen(command, env=platform.env())
    try:
        platform.until((platform.home / "platform.json").exists, 60)
        yield platform, socket
    finally:
        platform.process.send_signal(signal.SIGTERM)
        platform.process.wait(60)
        platform.destroy()
        remove(platform)


class _Scorer(asyncio.Protocol):
    """The scorer of every deployment: Envoy says in the answer which deployment it chose."""

    _transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._received.count(_END) and self._received.partition(_END)[2].startswith(b"{}"):
            self._received = self._received.partition(_END)[2].removeprefix(b"{}")
            self._transport.write(_ANSWER)


@asynccontextmanager
async def _stub(socket: Path) -> AsyncIterator[None]:
    async with await asyncio.get_running_loop().create_unix_server(_Scorer, socket):
        yield


async def _fill(client: Client, platform: Platform, size: int) -> float:
    """Endpoints ``e0`` and so on, each with two deployments; the seconds it took."""
    begun = time.perf_counter()
    code = (await client.assets.upload(written(platform.home.parent / "src" / "score.py", "").parent)).name
    deployment = Deployment(code_configuration=CodeConfiguration(code=code, scoring_script="score.py"))
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> None:
        async with turns:
            name = f"e{number:03}"
            await client.endpoints.create(name, Endpoint())
            made = [await client.deployments.create(name, each, deployment) for each in DEPLOYMENTS]
            for operation in made:
                await operation.wait()
            await (await client.endpoints.set_traffic(name, {"blue": 100})).wait()

    async with asyncio.TaskGroup() as group:
        for number in range(size):
            group.create_task(one(number))
    return time.perf_counter() - begun


async def _weight_changes(client: Client, platform: Platform, endpoint: str) -> tuple[list[float], list[float]]:
    """Milliseconds from each API call until a request sees the change, and until its operation is done.

    A change moves everything to the other deployment, so that the first answer of that one marks the moment.
    """
    key = (await client.endpoints.keys(endpoint)).primary_key
    awaited, arrived = "", asyncio.Event()

    def heard(deployment: str) -> None:
        if deployment == awaited:
            arrived.set()

    tally, going = Tally(heard=heard), True
    asking = asyncio.create_task(run(aim(platform.gateway_port, endpoint, key), tally, 1, lambda: going, 0.001))
    seen: list[float] = []
    done: list[float] = []
    for number in range(CHANGES):
        awaited = DEPLOYMENTS[(number + 1) % 2]
        arrived.clear()
        begun = time.perf_counter()
        operation = await client.endpoints.set_traffic(endpoint, {awaited: 100})
        waiting = asyncio.create_task(operation.wait())
        await asyncio.wait_for(arrived.wait(), 30)
        seen.append(1000 * (time.perf_counter() - begun))
        await waiting
        done.append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(0.05)
    going = False
    await asking
    print(f"      requests meanwhile: {tally}")
    return seen, done


def _footprint(platform: Platform) -> str:
    names = {platform.process.pid: "control plane"} if platform.process else {}
    sizes = {names.get(p.pid, p.name()): p.memory_full_info().pss / 2**20 for p in platform.processes()}
    return "memory (PSS): " + ", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items())


if __name__ == "__main__":
    asyncio.run(main())
