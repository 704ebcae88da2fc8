"""RDS: one endpoint's routes: who may answer, in which share, for how long, with what retried.

Shares are routes with a growing runtime fraction, not ``weighted_clusters``: Envoy draws one random number a request,
so fractions of 90 and 100 percent give exactly 90/10, and each deployment keeps its own timeout, which a weighted
cluster has no field for. Only a sticky split needs the other form (docs/decisions/gateway-sticky.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.wrappers_pb2 import UInt64Value

from gateway.routes import DeploymentRoute, EndpointRoute
from gateway.snapshot import Key, Resource, ResourceType
from gateway.translate import address, auth, errors, limits, messages, names, retry, sticky
from gateway.translate.ways import Way

_MIRRORED_ANSWER_MS = 600_000
"""How long an answer to a mirrored request may take in all. Envoy has no other end for a copy that is never answered:
it would hold its place in the deployment's limits for good."""
_WEBSOCKET = "websocket"
_WHOLE = 100


def route_configuration(route: EndpointRoute) -> Resource:
    """The routes of one endpoint. Of its deployments only names and timeouts matter here, never hosts."""
    host = route_components_pb2.VirtualHost(
        name=route.name,
        domains=["*"],
        routes=list(_Routes(route).all()),
        retry_policy=retry.policy(route.retry),
        # A body is kept for the retry as long as it may be: else a larger one is not retried.
        request_body_buffer_limit=UInt64Value(value=route.max_request_bytes),
        request_headers_to_remove=[names.HEADER_ENDPOINT],
    )
    host.typed_per_filter_config[address.FILTER].CopyFrom(address.known())
    for filter_name, config in auth.per_route(route.name, route.auth):
        host.typed_per_filter_config[filter_name].CopyFrom(config)
    host.typed_per_filter_config[limits.BUFFER_FILTER].CopyFrom(limits.body_limit(route.max_request_bytes))
    if route.rate_limit is not None:
        host.typed_per_filter_config[limits.RATE_FILTER].CopyFrom(limits.rate_limit(route.rate_limit))
    name = names.route_config_name(route.name)
    message = route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])
    return messages.resource(ResourceType.ROUTE, name, message, tuple(_clusters(route)))


def _clusters(route: EndpointRoute) -> Iterator[Key]:
    for deployment in route.deployments:
        for grpc in (False, True) if deployment.grpc else (False,):
            yield ResourceType.CLUSTER, names.cluster_name(route.name, deployment.name, grpc=grpc)


@dataclass(frozen=True, slots=True)
class _Routes:
    """Writes the routes of one endpoint."""

    route: EndpointRoute

    @property
    def _by_name(self) -> dict[str, DeploymentRoute]:
        return {deployment.name: deployment for deployment in self.route.deployments}

    def all(self) -> Iterator[route_components_pb2.Route]:
        """First match wins, so what most requests are comes first."""
        if self.route.stream_requests:
            yield self._refuse(Way.WEB, errors.TOO_LARGE, limits.announced_over(self.route.max_request_bytes))
        ways = (Way.WEB, Way.WEBSOCKET) if self.route.websocket else (Way.WEB,)
        for way in ways:
            yield from self._shares(way)
        for way in ways:
            yield from self._pinned(way)
        yield from self._otherwise(Way.WEB)
        if any(deployment.grpc for deployment in self.route.deployments):
            for way in (Way.GRPC_STREAM, Way.GRPC):
                yield from self._shares(way)
                yield from self._pinned(way)
            yield from self._otherwise(Way.GRPC)
        else:
            yield self._refuse(Way.GRPC, errors.NO_GRPC)

    def _shares(self, way: Way) -> Iterator[route_components_pb2.Route]:
        shares = [(self._by_name[name], percent) for name, percent in sorted(self.route.weights) if percent]
        able = not way.grpc or all(deployment.grpc for deployment, _ in shares)
        if self.route.sticky is not None and len(shares) > 1 and able:
            yield self._sticky_split(way, shares)
            return
        cumulative = 0
        for deployment, percent in shares:
            cumulative += percent
            message = self._to(way, deployment, _pin(None, present=False), cumulative)
            if message.HasField("route"):
                self._mirror(way, message.route)
            yield message

    def _pinned(self, way: Way) -> Iterator[route_components_pb2.Route]:
        for deployment in self.route.deployments:
            yield self._to(way, deployment, _pin(deployment.name))

    def _otherwise(self, way: Way) -> Iterator[route_components_pb2.Route]:
        """What is left: pinned to what is not there, or nothing has traffic."""
        yield self._refuse(way, errors.UNKNOWN_DEPLOYMENT, _pin(None))
        if not any(percent for _, percent in self.route.weights):
            yield self._refuse(way, errors.NO_TRAFFIC)

    def _to(
        self, way: Way, deployment: DeploymentRoute, header: route_components_pb2.HeaderMatcher, share: int = _WHOLE
    ) -> route_components_pb2.Route:
        if way.grpc and not deployment.grpc:
            return self._refuse(way, errors.NO_GRPC, header, share)
        message = self._forward(way, header, way.idle_ms(self.route, deployment), share)
        self._retry(way, message.route, deployment.grpc_workers)
        message.route.cluster = names.cluster_name(self.route.name, deployment.name, grpc=way.grpc)
        message.response_headers_to_add.append(_overwrite(names.HEADER_DEPLOYMENT, deployment.name))
        return message

    def _sticky_split(self, way: Way, shares: list[tuple[DeploymentRoute, int]]) -> route_components_pb2.Route:
        # One route for all shares has one timeout: the most patient deployment's.
        idle_ms = max(way.idle_ms(self.route, deployment) for deployment, _ in shares)
        message = self._forward(way, _pin(None, present=False), idle_ms)
        self._retry(way, message.route, max(deployment.grpc_workers for deployment, _ in shares))
        self._mirror(way, message.route)
        weighted = message.route.weighted_clusters
        weighted.use_hash_policy.value = True
        for deployment, percent in shares:
            weighted.clusters.add(
                name=names.cluster_name(self.route.name, deployment.name, grpc=way.grpc),
                weight={"value": percent},
                response_headers_to_add=[_overwrite(names.HEADER_DEPLOYMENT, deployment.name)],
            )
        return message

    def _refuse(
        self,
        way: Way,
        answer: errors.Answer,
        header: route_components_pb2.HeaderMatcher | None = None,
        share: int = _WHOLE,
    ) -> route_components_pb2.Route:
        message = self._route(way.address(self.route.name), header, share)
        message.direct_response.status = answer.status
        message.direct_response.body.inline_string = answer.message if way.grpc else answer.body()
        # Else it waits for a body to end that it does not read, and an upgrade's never does.
        message.typed_per_filter_config[limits.BUFFER_FILTER].CopyFrom(limits.unbuffered())
        return message

    def _route(
        self, match: route_components_pb2.RouteMatch, header: route_components_pb2.HeaderMatcher | None, share: int
    ) -> route_components_pb2.Route:
        # The name of every route of an endpoint: the access log and the auth filter read it.
        message = route_components_pb2.Route(name=self.route.name, match=match)
        if header is not None:
            message.match.headers.append(header)
        if share < _WHOLE:
            message.match.runtime_fraction.default_value.CopyFrom(_percent(share))
        return message

    def _forward(
        self, way: Way, header: route_components_pb2.HeaderMatcher, idle_ms: int, share: int = _WHOLE
    ) -> route_components_pb2.Route:
        message = self._route(way.match(self.route), header, share)
        action = message.route
        action.prefix_rewrite = way.rewrite()
        # Silence is limited, not length: an answer may stream for as long as it flows.
        action.idle_timeout.CopyFrom(messages.duration(idle_ms))
        action.timeout.CopyFrom(messages.duration(0))
        if self.route.sticky is not None:
            action.hash_policy.append(sticky.hash_policy(self.route.sticky))
        if way is Way.WEBSOCKET:
            action.upgrade_configs.add(upgrade_type=_WEBSOCKET)
        if not way.buffered(self.route):
            message.typed_per_filter_config[limits.BUFFER_FILTER].CopyFrom(limits.unbuffered())
        return message

    def _retry(self, way: Way, action: route_components_pb2.RouteAction, workers: int) -> None:
        """Where one retry, as for the whole endpoint, is not enough."""
        policy = retry.policy(self.route.retry, workers)
        if way.grpc and workers > 1 and policy is not None:
            action.retry_policy.CopyFrom(policy)

    def _mirror(self, way: Way, action: route_components_pb2.RouteAction) -> None:
        mirror = self.route.mirror
        if mirror is None or not way.mirrored or (way.grpc and not self._by_name[mirror.deployment].grpc):
            return
        action.timeout.CopyFrom(messages.duration(_MIRRORED_ANSWER_MS))
        policy = action.request_mirror_policies.add(
            cluster=names.cluster_name(self.route.name, mirror.deployment, grpc=way.grpc)
        )
        policy.runtime_fraction.default_value.CopyFrom(_percent(mirror.percent))


def _pin(deployment: str | None, *, present: bool = True) -> route_components_pb2.HeaderMatcher:
    """The header names ``deployment``; with None: it names any (``present``) or there is none."""
    if deployment is None:
        return route_components_pb2.HeaderMatcher(name=names.HEADER_DEPLOYMENT, present_match=present)
    return route_components_pb2.HeaderMatcher(
        name=names.HEADER_DEPLOYMENT, string_match=string_pb2.StringMatcher(exact=deployment)
    )


def _percent(value: int) -> percent_pb2.FractionalPercent:
    return percent_pb2.FractionalPercent(numerator=value, denominator=percent_pb2.FractionalPercent.HUNDRED)


def _overwrite(name: str, value: str) -> base_pb2.HeaderValueOption:
    """The gateway's word replaces whatever the upstream says of itself."""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
