"""Puts the API together: use cases over the parts it is given, servicers over these, one server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from controlplane.api.asset_service import AssetServicer
from controlplane.api.convert.endpoint import EndpointConverter
from controlplane.api.convert.operation import OperationConverter
from controlplane.api.deployment_service import DeploymentServicer
from controlplane.api.endpoint_service import EndpointServicer
from controlplane.api.gateway_service import Gateways, GatewayServicer
from controlplane.api.instance_service import InstanceServicer
from controlplane.api.interceptors import AdminToken, CallInterceptor
from controlplane.api.metrics_service import MetricsServicer
from controlplane.api.operations_service import OperationsServicer
from controlplane.api.platform_service import PlatformServicer, PlatformStatus
from controlplane.api.registry_services import EnvironmentServicer, ModelServicer
from controlplane.domain.ports import Backend, Clock
from controlplane.domain.uploads import CHUNK_MAX
from controlplane.metrics.reader import MetricsReader
from controlplane.usecases.assets import AssetUseCases, Blobs
from controlplane.usecases.credentials import CredentialUseCases
from controlplane.usecases.deployments import DeploymentUseCases
from controlplane.usecases.endpoints import EndpointUseCases
from controlplane.usecases.instances import InstanceUseCases
from controlplane.usecases.keys import KeyRing
from controlplane.usecases.kinds import ENVIRONMENTS, MODELS
from controlplane.usecases.ledger import Ledger
from controlplane.usecases.operations import OperationUseCases
from controlplane.usecases.ports import Randomness, Store, Vault
from controlplane.usecases.registry import RegistryUseCases
from controlplane.usecases.signing import SigningKeys
from controlplane.usecases.tokens import TokenUseCases
from controlplane.usecases.watching import EndpointWatch
from penstock.v1 import (
    asset_service_pb2,
    asset_service_pb2_grpc,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    endpoint_service_pb2,
    endpoint_service_pb2_grpc,
    environment_service_pb2,
    environment_service_pb2_grpc,
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    instance_service_pb2,
    instance_service_pb2_grpc,
    metrics_service_pb2,
    metrics_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    platform_service_pb2,
    platform_service_pb2_grpc,
)

MESSAGE_MAX = 4 << 20
"""Bytes of one message: a chunk of an upload and two package files fit."""
_FILES: tuple[Any, ...] = (
    endpoint_service_pb2,
    deployment_service_pb2,
    model_service_pb2,
    environment_service_pb2,
    instance_service_pb2,
    asset_service_pb2,
    platform_service_pb2,
    metrics_service_pb2,
    gateway_service_pb2,
)
_OPTIONS = (
    ("grpc.max_receive_message_length", max(MESSAGE_MAX, 2 * CHUNK_MAX)),
    ("grpc.max_send_message_length", -1),  # a page of 1,000 deployments with their tracebacks
    ("grpc.so_reuseport", 0),  # a second server on the same port fails instead of sharing it
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),  # clients that wait for hours may see whether we are still there
)


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API is made from; see :func:`build_api`."""

    store: Store
    backend: Backend
    blobs: Blobs
    vault: Vault
    signing: SigningKeys
    token_lifetime: timedelta
    clock: Clock
    randomness: Randomness
    admin_token: str
    gateway_uri: str
    """Where clients reach the gateway, such as ``http://localhost:8080``."""
    platform_status: Callable[[], Awaitable[PlatformStatus]]
    metrics: MetricsReader
    gateways: Gateways


@dataclass(frozen=True, slots=True)
class Api:
    """The server, not started, and its health."""

    server: grpc.aio.Server
    health: health_aio.HealthServicer

    async def serving(self, *, yes: bool) -> None:
        """Tell whoever asks for health."""
        state = health_pb2.HealthCheckResponse.SERVING if yes else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *service_names()):
            await self.health.set(name, state)


def build_api(parts: ApiParts) -> Api:
    """Every service on one server. The caller binds it, starts it, and says when it is serving."""
    server = grpc.aio.server(interceptors=(CallInterceptor(AdminToken(parts.admin_token)),), options=_OPTIONS)
    store, randomness = parts.store, parts.randomness
    ledger = Ledger(parts.clock, randomness)
    keys = KeyRing(parts.vault, randomness)
    instances = InstanceUseCases(store, parts.backend)
    operations = OperationConverter(EndpointConverter(parts.gateway_uri))
    endpoint_service_pb2_grpc.add_EndpointServiceServicer_to_server(
        EndpointServicer(
            EndpointUseCases(store, ledger, keys, randomness),
            CredentialUseCases(store, ledger, keys),
            TokenUseCases(store, ledger, parts.signing, parts.token_lifetime),
            EndpointWatch(store),
            operations,
        ),
        server,
    )
    deployments = DeploymentUseCases(store, ledger, randomness, parts.backend.check)
    deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server(
        DeploymentServicer(deployments, instances, operations), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelServicer(RegistryUseCases(MODELS, store, ledger, randomness)), server
    )
    environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server(
        EnvironmentServicer(RegistryUseCases(ENVIRONMENTS, store, ledger, randomness)), server
    )
    instance_service_pb2_grpc.add_InstanceServiceServicer_to_server(InstanceServicer(instances), server)
    asset_service_pb2_grpc.add_AssetServiceServicer_to_server(
        AssetServicer(AssetUseCases(store, parts.blobs, parts.clock)), server
    )
    platform_service_pb2_grpc.add_PlatformServiceServicer_to_server(PlatformServicer(parts.platform_status), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsServicer(parts.metrics), server)
    gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(GatewayServicer(parts.gateways, parts.clock), server)
    operations_pb2_grpc.add_OperationsServicer_to_server(
        OperationsServicer(OperationUseCases(store), operations), server
    )
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection(
        (*service_names(), health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), server
    )
    return Api(server, health)


def service_names() -> tuple[str, ...]:
    """The full names of the services of this API."""
    ours = tuple(service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())
    return (*ours, "google.longrunning.Operations")
