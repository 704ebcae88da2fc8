"""What a change costs before the reconcilers begin: ``python -m benchmarks.store.bench_store``.

Over a real Unix socket and a real SQLite: a weight change from the call until a listener hears of the commit, until
the endpoint's tree is read, and until the caller has its answer, at 10 and at 1,000 endpoints with two deployments.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import time
from dataclasses import dataclass, field

import structlog
from google.protobuf.field_mask_pb2 import FieldMask

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.records import Report
from controlplane.domain.specs import DeploymentSpec, EndpointSpec
from controlplane.domain.status import ProvisioningState
from penstock.v1 import endpoint_pb2, endpoint_service_pb2
from tests.support.api import Client, open_client
from tests.support.platform import CALLER, CODE

CHANGES = 300


@dataclass
class Figures:
    """Seconds, one of each a change."""

    told: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    reported: list[float] = field(default_factory=list)


async def main() -> None:
    """Print every figure."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    _say("store: a weight change through the API (ms, median / p95)")
    medians: dict[int, float] = {}
    for endpoints in (10, 1_000):
        async with open_client() as client:
            await _fill(client, endpoints)
            figures = await _change_weights(client, endpoints)
            started = time.perf_counter()
            await client.platform.desired.endpoints()
            resync = time.perf_counter() - started
        medians[endpoints] = statistics.median(figures.read)
        _say(
            f"  {endpoints:>5} endpoints: told {_both(figures.told)}, tree read {_both(figures.read)}, "
            f"answered {_both(figures.answered)}, report {_both(figures.reported)}, "
            f"everything read in {resync * 1000:.0f}"
        )
    _say(f"  1,000 against 10: {medians[1_000] / medians[10]:.2f} x")


async def _fill(client: Client, endpoints: int) -> None:
    platform = client.platform
    await platform.upload(CODE)
    served = DeploymentSpec(code_asset=CODE.sha256, scoring_script="score.py")
    for number in range(endpoints):
        await platform.endpoints.create(_name(number), EndpointSpec(tags={"team": "a"}), CALLER)
        for deployment in ("blue", "green"):
            await platform.deployments.create(_name(number), deployment, served, CALLER)


async def _change_weights(client: Client, endpoints: int) -> Figures:
    desired, figures = client.platform.desired, Figures()
    told = asyncio.Event()

    def listen(change: Change) -> None:
        if change.kind is ChangeKind.SPEC:
            told.set()

    client.platform.store.changes.subscribe(listen)
    for number in range(CHANGES):
        blue = 1 + number % 99
        request = endpoint_service_pb2.UpdateEndpointRequest(
            endpoint=endpoint_pb2.Endpoint(
                name=f"endpoints/{_name(number * 7 % endpoints)}", traffic={"blue": blue, "green": 100 - blue}
            ),
            update_mask=FieldMask(paths=["traffic"]),
        )
        told.clear()
        started = time.perf_counter()
        call = asyncio.ensure_future(client.endpoints.UpdateEndpoint(request))
        await told.wait()
        figures.told.append(time.perf_counter() - started)
        tree = await desired.endpoint(_name(number * 7 % endpoints))
        figures.read.append(time.perf_counter() - started)
        await call
        figures.answered.append(time.perf_counter() - started)
        if tree is None:
            raise RuntimeError
        endpoint = tree.endpoint
        started = time.perf_counter()
        report = Report(endpoint.generation, ProvisioningState.SUCCEEDED)
        await desired.report_endpoint(endpoint.uid, report, endpoint.spec.traffic)
        figures.reported.append(time.perf_counter() - started)
    return figures


def _name(number: int) -> str:
    return f"end{number:04}"


def _both(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.2f} / {statistics.quantiles(seconds, n=20)[-1] * 1000:.2f}"


def _say(line: str) -> None:
    print(line)
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
