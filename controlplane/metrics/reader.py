"""Puts the figures together: of one endpoint for the API, of all of them for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from controlplane.domain.errors import NotFoundError
from controlplane.domain.instances import InstanceObservation, InstanceRecord
from controlplane.domain.ports import Clock
from controlplane.metrics.figures import (
    DeploymentFigures,
    EndpointFigures,
    GatewayFigures,
    InstanceFigures,
    PlatformFigures,
)
from controlplane.metrics.usage import UsageMeter
from controlplane.usecases.endpoints import existing_endpoint
from controlplane.usecases.instances import InstanceView, Observer
from controlplane.usecases.ports import Store
from gateway.signals import Signals

log = structlog.get_logger(__name__)

MEASURE_SECONDS = 5.0
"""How often processes are measured, and what is gone is forgotten."""
_PAGE = 1000
_BREATH = 50
"""Endpoints between two turns for others in the event loop: about 5 ms."""


class Routes(Protocol):
    """What the gateway was told of. :class:`gateway.router.EnvoyRouter` implements it."""

    def deployments(self) -> Mapping[str, Sequence[str]]:
        """Every endpoint with its deployments, both sorted."""


class MetricsReader:
    """Reads figures. :meth:`run` must be running for usage and for constant memory."""

    def __init__(
        self,
        *,
        store: Store,
        observer: Observer,
        signals: Signals,
        routes: Routes,
        gateway: Callable[[], Awaitable[GatewayFigures]],
        clock: Clock,
        version: str,
        meter: UsageMeter | None = None,
    ) -> None:
        """``gateway`` asks for the gateways' own figures; ``meter`` is for tests."""
        self._store = store
        self._observer = observer
        self._signals = signals
        self._routes = routes
        self._gateway = gateway
        self._clock = clock
        self._version = version
        self._started = clock.now()
        self._meter = meter or UsageMeter()

    async def run(self) -> None:
        """Measure processes and forget what is gone, until cancelled."""
        while True:
            try:
                await self.measure()
            except Exception:  # figures must not end because one measurement failed
                log.exception("instances could not be measured")
            await asyncio.sleep(MEASURE_SECONDS)

    async def measure(self) -> None:
        """Do once what :meth:`run` does again and again."""
        self._signals.prune()
        seen = await self._observer.observe()
        pids = {instance: observation.pid for instance, observation in seen.items() if observation.pid}
        await asyncio.to_thread(self._meter.take, pids, self._clock.monotonic())

    async def endpoint(self, name: str) -> EndpointFigures:
        """One endpoint, now. Raises NotFoundError."""
        async with self._store.read() as transaction:
            record = await existing_endpoint(transaction, name)
            behind = await transaction.deployments.names([record.uid])
            instances = await transaction.instances.of_endpoint(record.uid)
        by_deployment = _by_deployment(instances)
        seen = await self._observer.observe()
        deployments = tuple(
            self._deployment(name, deployment, by_deployment.get((name, deployment), ()), seen)
            for deployment in sorted(behind.get(record.uid, ()))
        )
        return self._endpoint(name, deployments, self._clock.now())

    async def watch(self, name: str, seconds: float) -> AsyncIterator[EndpointFigures]:
        """One endpoint, now and every ``seconds``; ends when it is gone. Raises NotFoundError at the start."""
        figures = await self.endpoint(name)
        due = self._clock.monotonic()
        with contextlib.suppress(NotFoundError):
            while True:
                yield figures
                # To the beat, however long an answer took; beats that a slow client missed are left out.
                due = max(due + seconds, self._clock.monotonic())
                await asyncio.sleep(due - self._clock.monotonic())
                figures = await self.endpoint(name)

    async def platform(self) -> PlatformFigures:
        """Everything the gateway was told of, now."""
        by_deployment = _by_deployment(await self._all_instances())
        seen = await self._observer.observe()
        now = self._clock.now()
        endpoints = []
        for number, (endpoint, behind) in enumerate(self._routes.deployments().items(), 1):
            deployments = tuple(
                self._deployment(endpoint, deployment, by_deployment.get((endpoint, deployment), ()), seen)
                for deployment in behind
            )
            endpoints.append(self._endpoint(endpoint, deployments, now))
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        return PlatformFigures(self._version, self._started, tuple(endpoints), await self._gateway())

    def _endpoint(self, name: str, deployments: tuple[DeploymentFigures, ...], now: datetime) -> EndpointFigures:
        return EndpointFigures(
            name, now, deployments, self._signals.requests.requests(name), self._signals.load.gateways
        )

    def _deployment(
        self,
        endpoint: str,
        name: str,
        records: Iterable[InstanceRecord],
        seen: Mapping[str, InstanceObservation],
    ) -> DeploymentFigures:
        load = self._signals.load.load(endpoint, name)
        instances = []
        for record in records:
            view = InstanceView(record, seen.get(record.id))
            in_progress = None
            if load is not None and view.seen is not None:
                hosts = (
                    load.hosts.get(at.removeprefix("tls://")) for at in (view.seen.address, *view.seen.grpc_addresses)
                )
                in_progress = sum(host.in_progress for host in hosts if host is not None)
            instances.append(InstanceFigures(record.id, view.state, in_progress, self._meter.usage(record.id)))
        instances.sort(key=lambda instance: instance.id)
        requests = self._signals.requests.requests(endpoint, name)
        return DeploymentFigures(endpoint, name, requests, load, tuple(instances))

    async def _all_instances(self) -> list[InstanceRecord]:
        found: list[InstanceRecord] = []
        async with self._store.read() as transaction:
            while True:
                page = await transaction.instances.page(None, None, found[-1].id if found else "", _PAGE)
                found += page
                if len(page) < _PAGE:
                    return found


def _by_deployment(records: Iterable[InstanceRecord]) -> dict[tuple[str, str], list[InstanceRecord]]:
    found: dict[tuple[str, str], list[InstanceRecord]] = {}
    for record in records:
        found.setdefault((record.endpoint, record.deployment), []).append(record)
    return found
