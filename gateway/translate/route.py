"""RDS: one endpoint's routes: who may answer, in which share, for how long, with what retried.

Shares are routes with a growing runtime fraction, not ``weighted_clusters``: Envoy draws one random number a request,
so fractions of 90 and 100 percent give exactly 90/10, and each deployment keeps its own timeout, which a weighted
cluster has no field for.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

from gateway.routes import DeploymentRoute, EndpointRoute, Mirror
from gateway.snapshot import Resource, ResourceType
from gateway.translate import auth, errors, messages, names, retry

BUFFER_FILTER = "envoy.filters.http.buffer"

_Matcher = tuple[tuple[route_components_pb2.HeaderMatcher, ...], int | None]
"""Header conditions, and the cumulative percentage (None: all that is left)."""


def route_configuration(route: EndpointRoute) -> Resource:
    """The routes of one endpoint. Of its deployments only names and timeouts matter here, never hosts."""
    host = route_components_pb2.VirtualHost(
        name=route.name,
        domains=["*"],
        routes=list(_routes(route)),
        retry_policy=retry.policy(),
        # A body is kept for the retry as long as it may be: else a larger one is not retried.
        request_body_buffer_limit=UInt64Value(value=route.max_request_bytes),
    )
    for filter_name, config in auth.per_route(route.name, route.auth):
        host.typed_per_filter_config[filter_name].CopyFrom(config)
    host.typed_per_filter_config[BUFFER_FILTER].CopyFrom(_body_limit(route.max_request_bytes))
    name = names.route_config_name(route.name)
    message = route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])
    refs = tuple(
        (ResourceType.CLUSTER, names.cluster_name(route.name, deployment.name)) for deployment in route.deployments
    )
    return messages.resource(ResourceType.ROUTE, name, message, refs)


def _routes(route: EndpointRoute) -> Iterator[route_components_pb2.Route]:
    """First match wins: pinned, pinned to what is not there, shares, no traffic."""
    by_name = {deployment.name: deployment for deployment in route.deployments}
    for deployment in route.deployments:
        yield from _to(route.name, deployment, (_pinned(deployment.name),))
    yield from _refuse(route.name, errors.UNKNOWN_DEPLOYMENT, (_pinned(None),))
    cumulative = 0
    for name, percent in sorted(route.weights):
        if percent:
            cumulative += percent
            share = cumulative if cumulative < 100 else None  # noqa: PLR2004  # percent
            yield from _to(route.name, by_name[name], share=share, mirror=route.mirror)
    if not cumulative:
        yield from _refuse(route.name, errors.NO_TRAFFIC)


def _to(
    endpoint: str,
    deployment: DeploymentRoute,
    headers: tuple[route_components_pb2.HeaderMatcher, ...] = (),
    share: int | None = None,
    mirror: Mirror | None = None,
) -> Iterator[route_components_pb2.Route]:
    for match in _paths(endpoint, headers, share):
        action = route_components_pb2.RouteAction(
            cluster=names.cluster_name(endpoint, deployment.name),
            prefix_rewrite="/",
            timeout=messages.duration(deployment.request_timeout_ms),
        )
        if mirror is not None:
            action.request_mirror_policies.append(_mirror(endpoint, mirror))
        yield route_components_pb2.Route(
            # The name of every route of an endpoint: the access log and the auth filter read it.
            name=endpoint,
            match=match,
            route=action,
            response_headers_to_add=[_overwrite(names.HEADER_DEPLOYMENT, deployment.name)],
        )


def _refuse(
    endpoint: str, answer: errors.Answer, headers: tuple[route_components_pb2.HeaderMatcher, ...] = ()
) -> Iterator[route_components_pb2.Route]:
    for match in _paths(endpoint, headers, None):
        yield route_components_pb2.Route(
            name=endpoint,
            match=match,
            direct_response=route_components_pb2.DirectResponseAction(
                status=answer.status, body=base_pb2.DataSource(inline_string=answer.body())
            ),
        )


def _paths(
    endpoint: str, headers: tuple[route_components_pb2.HeaderMatcher, ...], share: int | None
) -> Iterator[route_components_pb2.RouteMatch]:
    """``/endpoints/NAME/...`` and ``/endpoints/NAME`` alone: Envoy cannot rewrite both with one rule."""
    prefix = names.path_prefix(endpoint)
    for specifier in ({"prefix": f"{prefix}/"}, {"path": prefix}):
        match = route_components_pb2.RouteMatch(headers=headers, **specifier)
        if share is not None:
            match.runtime_fraction.default_value.CopyFrom(_percent(share))
        yield match


def _pinned(deployment: str | None) -> route_components_pb2.HeaderMatcher:
    if deployment is None:
        return route_components_pb2.HeaderMatcher(name=names.HEADER_DEPLOYMENT, present_match=True)
    return route_components_pb2.HeaderMatcher(
        name=names.HEADER_DEPLOYMENT, string_match=string_pb2.StringMatcher(exact=deployment)
    )


def _mirror(endpoint: str, mirror: Mirror) -> route_components_pb2.RouteAction.RequestMirrorPolicy:
    policy = route_components_pb2.RouteAction.RequestMirrorPolicy(
        cluster=names.cluster_name(endpoint, mirror.deployment)
    )
    policy.runtime_fraction.default_value.CopyFrom(_percent(mirror.percent))
    return policy


def _percent(value: int) -> percent_pb2.FractionalPercent:
    return percent_pb2.FractionalPercent(numerator=value, denominator=percent_pb2.FractionalPercent.HUNDRED)


def _overwrite(name: str, value: str) -> base_pb2.HeaderValueOption:
    """The gateway's word replaces whatever the upstream says of itself."""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _body_limit(limit: int) -> object:
    limits = buffer_pb2.Buffer(max_request_bytes=UInt32Value(value=limit))
    return messages.pack(buffer_pb2.BufferPerRoute(buffer=limits))
