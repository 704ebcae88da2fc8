"""The composition root: the one file that names concrete parts and says in which order they live and die.

Start: store, backend (which adopts what runs), the gateway's state, and only then the ADS socket, Envoy and the API.
Stop is the other way round, and ends everything that was started here. Being killed ends nothing: a new control plane
adopts instances and Envoy as they are.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import structlog

from controlplane.api.gateway_service import GatewayRestarted, Gateways
from controlplane.api.platform_service import PlatformStatus, problems
from controlplane.api.server import ApiParts, build_api
from controlplane.backends.process.backend import ProcessBackend
from controlplane.backends.process.layout import Layout
from controlplane.backends.process.over_tcp import InstanceTls
from controlplane.certificates import gateway_certificate
from controlplane.clock import SystemClock
from controlplane.domain.backoff import Backoff
from controlplane.domain.changes import Change, ChangeKind, Changes
from controlplane.domain.errors import GatewayNotReplacedError
from controlplane.domain.ports import Backend, Clock
from controlplane.gateway_process import GatewayProcess, HotRestartError
from controlplane.home_files import admin_token, announce, withdraw
from controlplane.log_rotation import LogRotation
from controlplane.metrics.figures import GatewayFigures
from controlplane.metrics.metrics import Metrics
from controlplane.metrics.reader import MetricsReader
from controlplane.mutual_tls import MutualTls, is_wanted
from controlplane.reconcile.platform import PlatformReconciler, ReconcileSettings
from controlplane.settings import Home, Settings
from controlplane.snapshot_seal import SnapshotSeal
from controlplane.stand_in import StandIn, dismiss
from controlplane.store.blobs import BlobStore
from controlplane.store.database import Database
from controlplane.store.desired_state import SqlDesiredState
from controlplane.store.store import Store
from controlplane.store.vault import Vault
from controlplane.usecases.es256 import Es256
from controlplane.usecases.randomness import SystemRandomness
from controlplane.usecases.signing import SigningKeys
from gateway.dev_certificate import DevCertificate
from gateway.router import EnvoyRouter
from gateway.settings import GatewaySettings
from gateway.signals import Signals
from penstock.daemon import LogFile

log = structlog.get_logger(__name__)

READY_SECONDS = 20.0
_API_GRACE_SECONDS = 1.0


class ApiPortInUseError(Exception):
    """The API's port is taken."""

    reason = "PortInUse"
    hint = "Stop what holds it, or choose another with --api-port."


class ControlPlane:
    """Everything of one control plane. Construct it inside the event loop that will run it."""

    def __init__(self, settings: Settings, environment: dict[str, str], backend: Backend | None = None) -> None:
        """``backend`` replaces processes on this machine, for benchmarks and tests."""
        self._settings = settings
        home = settings.home
        self._clock: Clock = SystemClock()
        self._store = Store(Database(settings.database), Changes())
        self._state = SqlDesiredState(self._store, self._clock)
        self._blobs = BlobStore(home.blobs)
        gateway = gateway_settings(settings)
        self._router = EnvoyRouter(gateway, on_connection=self._gateway_connected, seal=SnapshotSeal(home.master_key))
        self._mutual_tls = (
            MutualTls(settings, self._router.set_upstream_identity, self._clock, look=self._router.turn_away)
            if gateway.mutual_tls
            else None
        )
        self._ads_port = self._mutual_tls.port(gateway) if self._mutual_tls is not None else None
        self._backend = backend or process_backend(
            home,
            self._blobs,
            self._clock,
            environment,
            None if self._mutual_tls is None else self._mutual_tls.instances(),
        )
        vault, randomness = Vault(home.master_key), SystemRandomness()
        self._signing = SigningKeys(
            store=self._store,
            vault=vault,
            randomness=randomness,
            clock=self._clock,
            algorithm=Es256(),
            rotation=timedelta(seconds=settings.signing_key_seconds),
        )
        self._certificate = gateway_certificate(settings, self._router.set_certificate, self._clock)
        self._signals = Signals(self._router.knows)
        reader = MetricsReader(
            store=self._store,
            observer=self._backend,
            signals=self._signals,
            routes=self._router,
            gateway=self._gateway_figures,
            clock=self._clock,
            version=version("penstock"),
        )
        self._metrics = Metrics(reader)
        chance = random.Random()  # noqa: S311  # spreads retries; nothing secret
        self._gateway = gateway_process(home, gateway, chance, lambda: self._router.longest_request_ms() / 1000)
        self._reconciler = PlatformReconciler(
            state=self._state,
            backend=self._backend,
            router=self._router,
            keys=self._signing,
            clock=self._clock,
            settings=ReconcileSettings(
                resync_seconds=settings.resync_seconds, drain_grace_seconds=settings.drain_grace_seconds
            ),
            random_source=chance,
        )
        self._log_rotation = LogRotation((LogFile(home.own_log), LogFile(home.gateway / "log")))
        self._started = self._clock.now()
        self._api = build_api(
            ApiParts(
                store=self._store,
                backend=self._backend,
                blobs=self._blobs,
                vault=vault,
                signing=self._signing,
                token_lifetime=timedelta(seconds=settings.token_lifetime_seconds),
                clock=self._clock,
                randomness=randomness,
                admin_token=admin_token(home),
                gateway_uri=settings.gateway_uri,
                platform_status=self._status,
                metrics=reader,
                gateways=Gateways(self._router.gateways, self._restart_gateway),
            )
        )

    async def start(self) -> None:
        """Return when requests are served and calls are taken.

        Raises:
            StoreError, PortInUseError, ApiPortInUseError, MetricsPortInUseError, EnvoyNotFoundError,
                GatewayNotReadyError, CertificateError, AdsAddressError, InstanceHostError, OSError: each with one
                sentence for the user.
        """
        self._bind_api()
        asked = "metrics_port" in self._settings.model_fields_set
        await self._metrics.start(self._settings.metrics_port, insist=asked)
        self._blobs.open()
        await self._store.open(self._clock.now())
        self._store.changes.subscribe(self._changed)
        if self._mutual_tls is not None:
            await self._mutual_tls.load()
        await self._reconciler.preload()
        if self._certificate is not None:
            await self._certificate.load()
        more = self._mutual_tls.services() if self._mutual_tls is not None else ()
        await self._router.start((*self._signals.services(), *more), self._ads_port)
        await self._gateway.start()
        await self._gateway.wait_ready(READY_SECONDS)
        await self._api.server.start()
        self._reconciler.start()
        self._log_rotation.start()
        for renewed in (self._certificate, self._mutual_tls):
            if renewed is not None:
                renewed.start()
        await self._api.serving(yes=True)
        announce(
            self._settings.home,
            api=self._settings.api_address,
            gateway=self._settings.gateway_uri,
            pid=os.getpid(),
            authority=DevCertificate(self._settings.home.tls).authority if self._settings.tls_dev else None,
            ads=self._settings.ads_address,
        )
        if self._mutual_tls is not None and self._mutual_tls.problem:
            log.warning(self._mutual_tls.problem)
        log.info("ready", gateway=self._settings.gateway_uri, api=self._settings.api_address)

    async def abandon(self) -> None:
        """Undo a start that failed, and nothing else: what an earlier control plane left serving goes on."""
        await self._metrics.close()
        await self._gateway.abandon()
        await self._router.stop()
        await self._backend.close()
        await self._store.close()

    async def stop(self) -> None:
        """End everything on this machine: requests finish, then the gateway ends, then the instances."""
        log.info("stopping: requests may finish first")
        withdraw(self._settings.home)
        await self._api.serving(yes=False)
        await self._api.server.stop(_API_GRACE_SECONDS)
        await self._metrics.close()
        await self._log_rotation.close()
        for renewed in (self._certificate, self._mutual_tls):
            if renewed is not None:
                await renewed.close()
        await self._reconciler.close()
        # Stopped for good: nobody shall stand in with instances that are gone.
        snapshot_file(self._settings.home).unlink(missing_ok=True)
        await self._gateway.stop()
        await stop_instances(self._backend, self._settings.drain_grace_seconds)
        await self._router.stop()
        await self._backend.close()
        await self._store.close()
        log.info("stopped")

    def _bind_api(self) -> None:
        address = self._settings.api_address
        try:
            bound = self._api.server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise ApiPortInUseError(f"{address} cannot be used for the API: another program listens there")

    def _changed(self, change: Change) -> None:
        if change.kind is not ChangeKind.STATUS:
            self._reconciler.wake(change.endpoint, change.deployment)

    def _gateway_connected(self, connected: int) -> None:
        log.info("gateways connected", count=connected)
        if connected:
            self._reconciler.look_again()

    async def _restart_gateway(self) -> GatewayRestarted:
        try:
            info = await self._gateway.restart()
        except (HotRestartError, OSError) as error:
            raise GatewayNotReplacedError(str(error), hint=getattr(error, "hint", "")) from error
        return GatewayRestarted(self._gateway.pid, info.epoch, info.version)

    async def _status(self) -> PlatformStatus:
        trees = await self._state.endpoints()
        deployments = [d for tree in trees for d in tree.deployments]
        gateway = self._router.status()
        return PlatformStatus(
            version=version("penstock"),
            started=self._started,
            gateway_uri=self._settings.gateway_uri,
            gateways_connected=gateway.connected,
            endpoints_pending=gateway.pending,
            endpoints_rejected=gateway.rejected,
            endpoints=len(trees),
            deployments=len(deployments),
            ready_instances=sum(d.ready_instances for d in deployments),
            metrics_uri=self._metrics.uri,
            problems=problems(
                gateway,
                *(part.problem for part in (self._certificate, self._mutual_tls) if part is not None),
            ),
        )

    async def _gateway_figures(self) -> GatewayFigures:
        said = await self._gateway.figures()
        connections, lost = said or (None, None)
        return GatewayFigures(self._router.status().connected, self._signals.requests.unrouted, connections, lost)


async def sweep(settings: Settings, environment: dict[str, str]) -> None:
    """End what a killed control plane left running on its home: the gateway and every instance."""
    home = settings.home
    await dismiss(gateway_settings(settings))
    gateway = gateway_process(home, gateway_settings(settings), random.Random())  # noqa: S311  # as above
    await gateway.stop()
    backend = process_backend(home, BlobStore(home.blobs), SystemClock(), environment)
    await stop_instances(backend, settings.drain_grace_seconds)
    await backend.close()
    withdraw(home)


async def stand_in(settings: Settings, *, stay: bool) -> None:
    """Serve what a control plane on this home served last, while it is away; see :meth:`StandIn.run`."""
    chance = random.Random()  # noqa: S311  # as above
    standing = StandIn(
        gateway_settings(settings),
        lambda found: gateway_process(settings.home, found, chance),
        SnapshotSeal(settings.home.master_key),
    )
    await standing.run(stay=stay)


async def stop_instances(backend: Backend, grace_seconds: float) -> None:
    """Let every instance finish what it has, and end it."""
    async with asyncio.TaskGroup() as group:
        for instance in await backend.observe():
            group.create_task(backend.stop(instance, grace_seconds))


def process_backend(
    home: Home, blobs: BlobStore, clock: Clock, environment: dict[str, str], tls: InstanceTls | None = None
) -> ProcessBackend:
    """Instances as processes of this machine."""
    return ProcessBackend(home.folder, blobs, clock, environ=environment, tls=tls)


def gateway_settings(settings: Settings) -> GatewaySettings:
    """The gateway's settings, from ours."""
    home = settings.home
    # Sockets share the backend's folder, which stays short enough for them below a deep home.
    sockets = Layout(home.folder).run_folder()
    folder = home.gateway
    folder.mkdir(mode=0o700, exist_ok=True)
    return GatewaySettings(
        ads_socket=sockets / "ads.sock",
        admin_socket=sockets / "envoy-admin.sock",
        access_log=home.logs / "gateway-access.log",
        bootstrap_file=folder / "bootstrap.json",
        snapshot_file=snapshot_file(home),
        listen_address=settings.gateway_host,
        listen_port=settings.gateway_port,
        tls_port=settings.tls_port if settings.tls else None,
        mutual_tls=is_wanted(settings),
    )


def snapshot_file(home: Home) -> Path:
    """Where the gateway's state is kept for the time the control plane is away."""
    return home.folder / "gateway" / "snapshot"


def gateway_process(
    home: Home, gateway: GatewaySettings, chance: random.Random, longest_request_s: Callable[[], float] = lambda: 0.0
) -> GatewayProcess:
    """The Envoy of this home."""
    return GatewayProcess(
        home.gateway,
        gateway,
        environment={"PATH": os.defpath},
        backoff=Backoff(first=0.2, cap=10.0),
        random_source=chance,
        longest_request_s=longest_request_s,
    )
