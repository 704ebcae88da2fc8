"""From the store's words to the gateway's: what an endpoint's desired and observed state mean for routing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.domain.endpoint_options import EndpointOptions, endpoint_options
from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.domain.ports import AuthPolicy, TokenPolicy
from controlplane.domain.records import DeploymentRecord, EndpointRecord, EndpointTree
from controlplane.domain.signing import AUDIENCE, ISSUER
from controlplane.domain.specs import AuthMode as Mode
from controlplane.domain.traffic import without_zeros
from controlplane.reconcile.token_keys import TokenKeys
from gateway.routes import (
    AuthMode,
    DeploymentRoute,
    EndpointAuth,
    EndpointRoute,
    Host,
    HostHealth,
    Mirror,
    RateLimit,
    Retry,
    Sticky,
    StickyBy,
)


def endpoint_route(
    tree: EndpointTree, weights: Mapping[str, int], seen: Mapping[str, InstanceObservation]
) -> EndpointRoute:
    """The route of an endpoint that is not being deleted."""
    endpoint = tree.endpoint
    # What is wrong was refused when it was set; what an older or a newer release let in has its default.
    options, _ = endpoint_options(endpoint.spec.properties)
    present = [d for d in tree.deployments if not d.deleting]
    mirrors = [
        Mirror(name, percent)
        for name, percent in without_zeros(endpoint.spec.mirror_traffic).items()
        if any(d.name == name for d in present)
    ]
    return EndpointRoute(
        name=endpoint.name,
        auth=EndpointAuth(
            mode=AuthMode(endpoint.spec.auth_mode.value),
            key_digests=tuple((key.name, key.digest) for key in endpoint.keys),
            tokens_not_before=endpoint.tokens_not_before,
        ),
        deployments=tuple(_deployment_route(d, options, tree.instances, seen) for d in present),
        weights=tuple(sorted(weights.items())),
        mirror=mirrors[0] if mirrors else None,
        max_request_bytes=options.max_request_bytes,
        stream_requests=options.stream_requests,
        retry=Retry(options.retry.value),
        rate_limit=_rate_limit(options),
        sticky=_sticky(options),
        websocket=options.websocket,
        stream_idle_timeout_ms=options.stream_idle_timeout_seconds * 1000,
    )


def serving_instances(route: EndpointRoute) -> frozenset[str]:
    """The instances new requests may reach by this route."""
    return frozenset(host.instance for d in route.deployments for host in d.hosts if host.health is HostHealth.SERVING)


async def auth_policy(endpoint: EndpointRecord, tokens: TokenKeys) -> AuthPolicy:
    """What the endpoint's instances accept. ``tokens`` is asked only for an endpoint that takes some."""
    policy = AuthPolicy(
        endpoint=endpoint.name,
        mode=endpoint.spec.auth_mode.value,
        salt=endpoint.salt,
        keys=tuple((key.name, key.salted_digest) for key in endpoint.keys),
    )
    if endpoint.spec.auth_mode is not Mode.AML_TOKEN:
        return policy
    trusted = TokenPolicy(ISSUER, AUDIENCE, endpoint.tokens_not_before, await tokens.known())
    return replace(policy, tokens=trusted)


def _rate_limit(options: EndpointOptions) -> RateLimit | None:
    rate = options.rate_limit_per_key
    return None if rate is None else RateLimit(rate.requests, rate.seconds)


def _sticky(options: EndpointOptions) -> Sticky | None:
    sticky = options.sticky
    return None if sticky is None else Sticky(StickyBy(sticky.by.value), sticky.name)


def _deployment_route(
    deployment: DeploymentRecord,
    options: EndpointOptions,
    instances: tuple[InstanceRecord, ...],
    seen: Mapping[str, InstanceObservation],
) -> DeploymentRoute:
    settings = deployment.spec.request_settings
    own = [record for record in instances if record.deployment_uid == deployment.uid]
    hosts = (_host(record, seen.get(record.id)) for record in own)
    # Of all instances, those that do not answer now included: a restart is no change of the routes.
    workers = max((len(seen[record.id].grpc_addresses) for record in own if record.id in seen), default=0)
    return DeploymentRoute(
        name=deployment.name,
        hosts=tuple(sorted((host for host in hosts if host is not None), key=lambda host: host.instance)),
        max_concurrent_requests_per_instance=settings.max_concurrent_requests_per_instance,
        instance_count=max(1, deployment.spec.instance_count),
        request_timeout_ms=settings.request_timeout_ms,
        grpc=workers > 0,
        grpc_workers=max(1, workers),
        slow_start_ms=options.slow_start_seconds * 1000,
        sticky_instances=options.sticky_instances and options.sticky is not None,
    )


def _host(record: InstanceRecord, seen: InstanceObservation | None) -> Host | None:
    if seen is None or not seen.address:
        return None
    if record.draining and seen.state in (InstanceState.READY, InstanceState.DRAINING):
        return Host(record.id, seen.address, HostHealth.DRAINING, seen.grpc_addresses)
    if seen.state is InstanceState.READY:
        return Host(record.id, seen.address, grpc_addresses=seen.grpc_addresses)
    return None
