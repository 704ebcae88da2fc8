"""PlatformService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.api.convert.common import timestamp
from gateway.routes import GatewayStatus
from penstock.v1 import platform_service_pb2, platform_service_pb2_grpc


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """The state of the platform, as the composition root gathers it. Units as in the message of the same name."""

    version: str
    started: datetime
    gateway_uri: str
    gateways_connected: int
    endpoints_pending: tuple[str, ...]
    endpoints_rejected: Mapping[str, str]
    endpoints: int
    deployments: int
    ready_instances: int
    metrics_uri: str
    problems: tuple[str, ...] = ()


def problems(gateway: GatewayStatus, *parts: str) -> tuple[str, ...]:
    """What an operator must do something about: each of ``parts`` is a sentence, or empty. Endpoints say their own."""
    found = [part for part in parts if part]
    if not gateway.connected:
        found.append("No gateway is connected: requests are served as they were, if at all; see the gateway's log.")
    found += [
        f"A gateway refuses the {label.replace('/', ' ')}: {reason.removesuffix('.')}."
        for label, reason in sorted(gateway.rejected.items())
        if "/" in label
    ]
    return tuple(found)


class PlatformServicer(platform_service_pb2_grpc.PlatformServiceServicer):
    """See ``protos/penstock/v1/platform_service.proto``."""

    def __init__(self, status: Callable[[], Awaitable[PlatformStatus]]) -> None:
        self._status = status

    async def GetPlatformStatus(
        self, request: platform_service_pb2.GetPlatformStatusRequest, context: Any
    ) -> platform_service_pb2.PlatformStatus:
        status = await self._status()
        return platform_service_pb2.PlatformStatus(
            version=status.version,
            start_time=timestamp(status.started),
            gateway_uri=status.gateway_uri,
            gateways_connected=status.gateways_connected,
            endpoints_pending=status.endpoints_pending,
            endpoints_rejected=status.endpoints_rejected,
            endpoints=status.endpoints,
            deployments=status.deployments,
            ready_instances=status.ready_instances,
            metrics_uri=status.metrics_uri,
            problems=status.problems,
        )
