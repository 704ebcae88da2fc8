"""The API on a Unix socket with a backend that runs nothing, and a channel to it."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2_grpc

from controlplane.api.gateway_service import GatewayRestarted, Gateways
from controlplane.api.platform_service import PlatformStatus
from controlplane.api.server import Api, ApiParts, build_api
from controlplane.domain.errors import GatewayNotReplacedError
from controlplane.domain.instances import InstanceObservation, InstanceTemplate
from controlplane.domain.ports import AuthPolicy, LogKind, LogLines, Preparation
from controlplane.store.blobs import BlobStore
from controlplane.store.vault import Vault
from gateway.inspection import GatewayView, ResourceState, ResourceView
from penstock.v1 import (
    asset_pb2,
    asset_service_pb2,
    asset_service_pb2_grpc,
    deployment_service_pb2_grpc,
    endpoint_service_pb2_grpc,
    environment_service_pb2_grpc,
    gateway_service_pb2_grpc,
    instance_service_pb2_grpc,
    metrics_service_pb2_grpc,
    model_service_pb2_grpc,
    platform_service_pb2_grpc,
)
from tests.support.platform import LIFETIME, Platform, open_platform, refuse_mount_path
from tests.support.signals import SignalWorld

TOKEN = "the-admin-token"


class IdleBackend:
    """Runs nothing; sees and says what tests tell it."""

    def __init__(self) -> None:
        self.restart_refusal = ""
        self.seen: dict[str, InstanceObservation] = {}
        self.lines: list[LogLines] = []
        self.asked: list[tuple[tuple[str, ...], LogKind, int, bool]] = []

    def check(self, template: InstanceTemplate) -> None:
        refuse_mount_path(template)

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        raise NotImplementedError

    async def start(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> None:
        raise NotImplementedError

    async def stop(self, instance: str, grace_seconds: float) -> None:
        raise NotImplementedError

    async def observe(self) -> Mapping[str, InstanceObservation]:
        return self.seen

    async def apply_policy(self, policy: AuthPolicy) -> None:
        raise NotImplementedError

    def on_change(self, listener: Callable[[str], None]) -> None:
        raise NotImplementedError

    async def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        self.asked.append((instances, kind, lines, follow))
        for some in self.lines:
            yield some
        while follow:
            await asyncio.Event().wait()

    async def close(self) -> None:
        raise NotImplementedError


@dataclass
class Client:
    """Every stub over one channel, and what is behind the server."""

    platform: Platform
    backend: IdleBackend
    blobs: BlobStore
    api: Api
    address: str
    channel: grpc.aio.Channel
    signals: SignalWorld

    def __post_init__(self) -> None:
        self.endpoints: Any = endpoint_service_pb2_grpc.EndpointServiceStub(self.channel)
        self.deployments: Any = deployment_service_pb2_grpc.DeploymentServiceStub(self.channel)
        self.models: Any = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.environments: Any = environment_service_pb2_grpc.EnvironmentServiceStub(self.channel)
        self.instances: Any = instance_service_pb2_grpc.InstanceServiceStub(self.channel)
        self.metrics: Any = metrics_service_pb2_grpc.MetricsServiceStub(self.channel)
        self.assets: Any = asset_service_pb2_grpc.AssetServiceStub(self.channel)
        self.status: Any = platform_service_pb2_grpc.PlatformServiceStub(self.channel)
        self.gateways: Any = gateway_service_pb2_grpc.GatewayServiceStub(self.channel)
        self.operations: Any = operations_pb2_grpc.OperationsStub(self.channel)

    async def upload(self, content: bytes, basename: str, kind: Any = asset_pb2.ASSET_KIND_FILE) -> asset_pb2.Asset:
        """Send ``content`` in pieces of 1,000 bytes."""

        async def pieces() -> AsyncIterator[asset_service_pb2.UploadAssetRequest]:
            yield asset_service_pb2.UploadAssetRequest(
                header=asset_service_pb2.AssetHeader(
                    sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), kind=kind, basename=basename
                )
            )
            for start in range(0, len(content), 1000):
                yield asset_service_pb2.UploadAssetRequest(chunk=content[start : start + 1000])

        return await self.assets.UploadAsset(pieces())  # type: ignore[no-any-return]


@asynccontextmanager
async def open_client(token: str = TOKEN) -> AsyncIterator[Client]:
    """A server of its own, and a channel that carries ``token``."""
    with tempfile.TemporaryDirectory(prefix="ps-") as short:
        folder = Path(short)
        platform = await open_platform(folder)
        blobs = BlobStore(folder / "blobs")
        blobs.open()
        backend = IdleBackend()
        world = SignalWorld(platform.store, backend, platform.clock)

        async def status() -> PlatformStatus:
            return PlatformStatus(
                version="1",
                started=platform.clock.now(),
                gateway_uri="http://localhost:8080",
                gateways_connected=1,
                endpoints_pending=("late",),
                endpoints_rejected={"bad": "why"},
                endpoints=3,
                deployments=2,
                ready_instances=1,
                metrics_uri="http://127.0.0.1:9464/metrics",
                problems=("It is broken.",),
            )

        def gateways(endpoint: str) -> tuple[GatewayView, ...]:
            refused = ResourceView("route", "ep/bad", ResourceState.REJECTED, "5a", "no such cluster")
            had = ResourceView("route", f"ep/{endpoint}", ResourceState.ACKED, "7b")
            counts = {"route": Counter({ResourceState.ACKED: 2, ResourceState.REJECTED: 1})}
            listed = (refused, had) if endpoint else (refused,)
            return (
                GatewayView("gateway", "1.40.0", 60.0, late=True, listener_error="", counts=counts, resources=listed),
            )

        async def restart() -> GatewayRestarted:
            if backend.restart_refusal:
                raise GatewayNotReplacedError(backend.restart_refusal, hint="wait")
            return GatewayRestarted(4711, 3, "1.40.0")

        api = build_api(
            ApiParts(
                store=platform.store,
                backend=backend,
                blobs=blobs,
                vault=Vault(folder / "master.key"),
                signing=platform.signing,
                token_lifetime=LIFETIME,
                clock=platform.clock,
                randomness=platform.randomness,
                admin_token=TOKEN,
                gateway_uri="http://localhost:8080",
                platform_status=status,
                metrics=world.reader,
                gateways=Gateways(gateways, restart),
            )
        )
        address = f"unix:{folder}/api.sock"
        api.server.add_insecure_port(address)
        await api.server.start()
        await api.serving(yes=True)
        async with grpc.aio.insecure_channel(address, interceptors=bearer(token)) as channel:
            yield Client(platform, backend, blobs, api, address, channel, world)
        await api.server.stop(grace=None)
        await platform.store.close()


def bearer(token: str) -> list[Any]:
    """Interceptors that send the token with every call."""

    def add(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {token}")]
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, grpc.aio.Metadata(*metadata), details.credentials, details.wait_for_ready
        )

    class UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return await continuation(add(details), request)

    class UnaryStream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
        async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            return await continuation(add(details), request)

    class StreamUnary(grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
        async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
            return await continuation(add(details), requests)

    return [UnaryUnary(), UnaryStream(), StreamUnary()] if token else []
