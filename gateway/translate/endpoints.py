"""EDS: the hosts of a deployment. The one resource that changes when instances come, drain and go."""

from __future__ import annotations

from envoy.config.core.v3 import address_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from gateway.addresses import Address, TcpAddress, UnixAddress, parse_address
from gateway.routes import DeploymentRoute, Host, HostHealth
from gateway.snapshot import Resource, ResourceType
from gateway.translate import messages, names, upstream_tls

_HEALTH = {
    HostHealth.SERVING: health_check_pb2.HEALTHY,
    HostHealth.DRAINING: health_check_pb2.DRAINING,
}


def load_assignment(endpoint: str, deployment: DeploymentRoute, *, grpc: bool = False) -> Resource:
    """The hosts of ``deployment``, as they speak HTTP/1.1 or gRPC; none is allowed, and answers 503."""
    name = names.cluster_name(endpoint, deployment.name, grpc=grpc)
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    # The order of instances carries no meaning: sorted, a reordered list is no change.
    for host in sorted(deployment.hosts, key=lambda host: host.instance):
        for address in host.grpc_addresses if grpc else (host.address,):
            if not assignment.endpoints:
                assignment.endpoints.add()
            assignment.endpoints[0].lb_endpoints.append(_lb_endpoint(host, address))
    return messages.resource(ResourceType.ENDPOINTS, name, assignment)


def _lb_endpoint(host: Host, address: str) -> endpoint_components_pb2.LbEndpoint:
    parsed = parse_address(address)
    return endpoint_components_pb2.LbEndpoint(
        # The host name travels into access logs and load reports: figures are kept by instance.
        endpoint=endpoint_components_pb2.Endpoint(address=_address(parsed), hostname=host.instance),
        health_status=_HEALTH[host.health],
        metadata=upstream_tls.mark() if isinstance(parsed, TcpAddress) and parsed.mutual_tls else None,
    )


def _address(parsed: Address) -> address_pb2.Address:
    if isinstance(parsed, UnixAddress):
        return address_pb2.Address(pipe=address_pb2.Pipe(path=parsed.path))
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=parsed.ip, port_value=parsed.port))
