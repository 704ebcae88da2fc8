"""From the store's words to the gateway's: what an endpoint's desired and observed state mean for routing. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.domain.ports import AuthPolicy
from controlplane.domain.records import DeploymentRecord, EndpointRecord, EndpointTree
from controlplane.domain.traffic import without_zeros
from gateway.routes import AuthMode, DeploymentRoute, EndpointAuth, EndpointRoute, Host, HostHealth, Mirror


def endpoint_route(
    tree: EndpointTree, weights: Mapping[str, int], seen: Mapping[str, InstanceObservation]
) -> EndpointRoute:
    """The route of an endpoint that is not being deleted."""
    endpoint = tree.endpoint
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
        ),
        deployments=tuple(_deployment_route(d, tree.instances, seen) for d in present),
        weights=tuple(sorted(weights.items())),
        mirror=mirrors[0] if mirrors else None,
    )


def serving_instances(route: EndpointRoute) -> frozenset[str]:
    """The instances new requests may reach by this route."""
    return frozenset(host.instance for d in route.deployments for host in d.hosts if host.health is HostHealth.SERVING)


def auth_policy(endpoint: EndpointRecord) -> AuthPolicy:
    """What the endpoint's instances accept."""
    return AuthPolicy(
        endpoint=endpoint.name,
        mode=endpoint.spec.auth_mode.value,
        salt=endpoint.salt,
        keys=tuple((key.name, key.salted_digest) for key in endpoint.keys),
    )


def _deployment_route(
    deployment: DeploymentRecord, instances: tuple[InstanceRecord, ...], seen: Mapping[str, InstanceObservation]
) -> DeploymentRoute:
    settings = deployment.spec.request_settings
    hosts = (_host(record, seen.get(record.id)) for record in instances if record.deployment_uid == deployment.uid)
    return DeploymentRoute(
        name=deployment.name,
        hosts=tuple(sorted((host for host in hosts if host is not None), key=lambda host: host.instance)),
        max_concurrent_requests_per_instance=settings.max_concurrent_requests_per_instance,
        instance_count=max(1, deployment.spec.instance_count),
        request_timeout_ms=settings.request_timeout_ms,
    )


def _host(record: InstanceRecord, seen: InstanceObservation | None) -> Host | None:
    if seen is None or not seen.address:
        return None
    if record.draining and seen.state in (InstanceState.READY, InstanceState.DRAINING):
        return Host(record.id, seen.address, HostHealth.DRAINING)
    if seen.state is InstanceState.READY:
        return Host(record.id, seen.address)
    return None
