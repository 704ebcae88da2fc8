"""GatewayService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controlplane.api.convert.common import timestamp
from controlplane.domain.names import parse
from controlplane.domain.ports import Clock
from gateway.inspection import GatewayView, ResourceState
from penstock.v1 import gateway_service_pb2, gateway_service_pb2_grpc


@dataclass(frozen=True, slots=True)
class GatewayRestarted:
    """The Envoy that took over. Fields as in the message of the response."""

    pid: int
    epoch: int
    version: str


@dataclass(frozen=True, slots=True)
class Gateways:
    """What the composition root lends of the gateways."""

    views: Callable[[str], tuple[GatewayView, ...]]
    """Each connected one, with all that it has of an endpoint (by its short name; empty: of none)."""
    restart: Callable[[], Awaitable[GatewayRestarted]]
    """Raises :class:`controlplane.domain.errors.GatewayNotReplacedError`."""


class GatewayServicer(gateway_service_pb2_grpc.GatewayServiceServicer):
    """See ``protos/penstock/v1/gateway_service.proto``."""

    def __init__(self, gateways: Gateways, clock: Clock) -> None:
        self._gateways = gateways
        self._clock = clock

    async def GetGatewayStatus(
        self, request: gateway_service_pb2.GetGatewayStatusRequest, context: Any
    ) -> gateway_service_pb2.GatewayStatus:
        endpoint = parse("endpoints/{}", "endpoint", request.endpoint)[0] if request.endpoint else ""
        views = sorted(self._gateways.views(endpoint), key=lambda view: -view.connected_s)
        return gateway_service_pb2.GatewayStatus(gateways=[self._message(view) for view in views])

    async def RestartGateway(
        self, request: gateway_service_pb2.RestartGatewayRequest, context: Any
    ) -> gateway_service_pb2.RestartGatewayResponse:
        done = await self._gateways.restart()
        return gateway_service_pb2.RestartGatewayResponse(pid=done.pid, epoch=done.epoch, version=done.version)

    def _message(self, view: GatewayView) -> gateway_service_pb2.Gateway:
        return gateway_service_pb2.Gateway(
            node_id=view.node_id,
            version=view.version,
            connect_time=timestamp(self._clock.now() - timedelta(seconds=view.connected_s)),
            late=view.late,
            listener_error=view.listener_error,
            counts=[
                gateway_service_pb2.GatewayResourceCount(
                    kind=kind,
                    acked=count[ResourceState.ACKED],
                    pending=count[ResourceState.PENDING],
                    rejected=count[ResourceState.REJECTED],
                )
                for kind, count in view.counts.items()
            ],
            resources=[
                gateway_service_pb2.GatewayResource(
                    kind=resource.kind,
                    name=resource.name,
                    state=gateway_service_pb2.GatewayResourceState.Value(
                        f"GATEWAY_RESOURCE_STATE_{resource.state.name}"
                    ),
                    version=resource.version,
                    reason=resource.reason,
                )
                for resource in view.resources
            ],
        )
