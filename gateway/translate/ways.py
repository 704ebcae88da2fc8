"""The ways into an endpoint: one for each kind of request that wants other treatment on the same address.

What differs is how a request is recognised, which of a deployment's clusters it goes to, how long it may be silent,
and whether its body can be gathered before it is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2

from gateway.routes import DeploymentRoute, EndpointRoute
from gateway.translate import names

_STREAM_METHOD = "inference.GRPCInferenceService/ModelStreamInfer"
_UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class _Traits:
    grpc: bool = False
    """Goes to the cluster that speaks HTTP/2."""
    stream: bool = False
    """Both sides may be silent for long, and speak in any order."""


class Way(Enum):
    """One kind of request."""

    WEB = _Traits()
    """Request and response, server-sent events and other streamed answers included."""
    WEBSOCKET = _Traits(stream=True)
    GRPC = _Traits(grpc=True)
    """Calls, and streams of services we know nothing of."""
    GRPC_STREAM = _Traits(grpc=True, stream=True)
    """The bidirectional stream of the Open Inference Protocol."""

    @property
    def grpc(self) -> bool:
        """Whether it is gRPC, errors included."""
        return self.value.grpc

    @property
    def mirrored(self) -> bool:
        """Whether a copy can be made of it: not of a conversation."""
        return not self.value.stream

    def buffered(self, route: EndpointRoute) -> bool:
        """Whether the body is gathered, and held against the endpoint's limit, before an instance gets it."""
        return self is Way.WEB and not route.stream_requests

    def idle_ms(self, route: EndpointRoute, deployment: DeploymentRoute) -> int:
        """How long neither side may say anything."""
        return route.stream_idle_timeout_ms if self.value.stream else deployment.request_timeout_ms

    def address(self, endpoint: str) -> route_components_pb2.RouteMatch:
        """Recognises every request to the address of ``endpoint`` that this way has."""
        match = route_components_pb2.RouteMatch(prefix=self._prefix(endpoint))
        if self.grpc:
            match.grpc.SetInParent()
        return match

    def match(self, route: EndpointRoute) -> route_components_pb2.RouteMatch:
        """Recognises the requests to an endpoint that come this way."""
        match = self.address(route.name)
        if route.websocket and not self.grpc:
            # Any other upgrade is refused by the gateway, whatever the route.
            websocket = string_pb2.StringMatcher(exact="websocket", ignore_case=True)
            match.headers.add(
                name=_UPGRADE,
                string_match=websocket,
                invert_match=self is Way.WEB,
                treat_missing_header_as_empty=self is Way.WEB,
            )
        return match

    def rewrite(self) -> str:
        """What an instance gets in place of the matched prefix."""
        return f"/{_STREAM_METHOD}" if self is Way.GRPC_STREAM else "/"

    def _prefix(self, endpoint: str) -> str:
        if not self.grpc:
            return names.path_prefix(endpoint)
        prefix = names.grpc_prefix(endpoint)
        return prefix + _STREAM_METHOD if self is Way.GRPC_STREAM else prefix
