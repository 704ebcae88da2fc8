"""Signals without gateways: what a metrics reader reads, set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from envoy.service.load_stats.v3 import lrs_pb2

from controlplane.domain.ports import Clock
from controlplane.metrics.figures import GatewayFigures
from controlplane.metrics.reader import MetricsReader
from controlplane.metrics.usage import Reading, UsageMeter
from controlplane.usecases.instances import Observer
from controlplane.usecases.ports import Store
from gateway.load_reports import LoadReports
from gateway.signals import Signals


class SignalWorld:
    """A reader over signals that tests feed."""

    def __init__(self, store: Store, observer: Observer, clock: Clock) -> None:
        self.routes: list[tuple[str, str]] = []
        self.now = 1000.0
        self.signals = Signals(self.knows, lambda: self.now)
        self.gateway = GatewayFigures(connected=1, unrouted={404: 2}, connections=5, lost=0)
        self.readings: dict[int, Reading] = {}
        self.reader = MetricsReader(
            store=store,
            observer=observer,
            signals=self.signals,
            routes=self,
            gateway=self._gateway,
            clock=clock,
            version="1.2.3",
            meter=UsageMeter(self._read, processors=4, memory_bytes=1 << 30),
        )

    def deployments(self) -> dict[str, list[str]]:
        return {endpoint: sorted(d for e, d in self.routes if e == endpoint) for endpoint, _ in sorted(self.routes)}

    def knows(self, endpoint: str, deployment: str) -> bool:
        return any(endpoint == e and deployment in ("", d) for e, d in self.routes)

    async def _gateway(self) -> GatewayFigures:
        return self.gateway

    def _read(self, wanted: Collection[int]) -> Mapping[int, Reading]:
        return {pid: reading for pid, reading in self.readings.items() if pid in wanted}


class Stream:
    """A gateway's side of one load report stream."""

    def __init__(self, loads: LoadReports, node: str) -> None:
        self.node = node
        self.asked: list[lrs_pb2.LoadStatsResponse] = []
        self._queue: asyncio.Queue[lrs_pb2.LoadStatsRequest | None] = asyncio.Queue()
        context: Any = self
        self.task = asyncio.create_task(loads.serve(self._requests(), context))

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def write(self, response: lrs_pb2.LoadStatsResponse) -> None:
        self.asked.append(response)

    async def hello(self) -> Stream:
        await self._send({"node": {"id": self.node}})
        return self

    async def report(self, **clusters: dict[str, tuple[int, int, int, int]]) -> None:
        """Keywords are ``ENDPOINT_DEPLOYMENT``; values are loads by address."""
        stats = [
            {
                "cluster_name": name.replace("_", "/"),
                "upstream_locality_stats": [
                    {
                        **counts(tuple(map(sum, zip(*hosts.values(), strict=True)))),
                        "upstream_endpoint_stats": [{"address": address(a), **counts(h)} for a, h in hosts.items()],
                    }
                ]
                if hosts
                else [],
            }
            for name, hosts in clusters.items()
        ]
        await self._send({"cluster_stats": stats})

    async def end(self) -> None:
        await self._queue.put(None)
        await self.task

    async def _send(self, fields: dict[str, Any]) -> None:
        await self._queue.put(lrs_pb2.LoadStatsRequest(**fields))
        while not self._queue.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _requests(self) -> AsyncIterator[lrs_pb2.LoadStatsRequest]:
        while (message := await self._queue.get()) is not None:
            yield message


def counts(load: tuple[int, ...]) -> dict[str, int]:
    names = ("in_progress", "issued", "successful", "error")
    return {f"total_{'requests_' * (n == 'in_progress')}{n}{'_requests' * (n != 'in_progress')}": v
            for n, v in zip(names, load, strict=True)}  # fmt: skip


def address(text: str) -> dict[str, Any]:
    if text.startswith("unix://"):
        return {"pipe": {"path": text.removeprefix("unix://")}}
    ip, _, port = text.rpartition(":")
    return {"socket_address": {"address": ip.strip("[]"), "port_value": int(port)}}
