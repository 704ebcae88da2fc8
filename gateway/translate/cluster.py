"""CDS: a deployment as a cluster. It changes only when the deployment's size or limits do."""

from __future__ import annotations

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.routes import DeploymentRoute
from gateway.settings import GatewaySettings
from gateway.snapshot import Resource, ResourceType
from gateway.translate import messages, names

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_IDLE_MS = 60_000
"""Idle upstream connections are closed after a minute: below what servers usually keep (75 s), so that the gateway
hangs up first and no request meets a closing connection."""
_CONNECTIONS = 1_000_000
"""Never reached: requests are what is limited."""
PENDING_FACTOR = 2
"""The hosted service's rule: requests beyond 2 x max_concurrent x instances are refused with 429."""


def cluster(endpoint: str, deployment: DeploymentRoute, settings: GatewaySettings) -> Resource:
    """The cluster of ``deployment``; its hosts come over EDS."""
    name = names.cluster_name(endpoint, deployment.name)
    message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=messages.ads()),
        connect_timeout=messages.duration(settings.connect_timeout_ms),
        # Scoring times vary by orders of magnitude, so the least busy instance is the better choice than the next.
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            # Else Envoy sends traffic to draining hosts when most are draining.
            healthy_panic_threshold=percent_pb2.Percent(value=0),
            # Else changes of health wait up to a second.
            update_merge_window=Duration(),
        ),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[_thresholds(deployment)]),
    )
    options = http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=messages.duration(_IDLE_MS)),
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http_protocol_options=protocol_pb2.Http1ProtocolOptions()
        ),
    )
    message.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(messages.pack(options))
    return messages.resource(ResourceType.CLUSTER, name, message, refs=((ResourceType.ENDPOINTS, name),))


def _thresholds(deployment: DeploymentRoute) -> circuit_breaker_pb2.CircuitBreakers.Thresholds:
    # At least one instance's worth, so that a deployment that is starting answers 503, not 429.
    instances = max(1, deployment.instance_count)
    limit = UInt32Value(value=PENDING_FACTOR * deployment.max_concurrent_requests_per_instance * instances)
    return circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_requests=limit,
        # HTTP/1 uses a connection a request, and idle ones of other hosts count: a limit near max_requests would make
        # requests wait that may run.
        max_connections=UInt32Value(value=_CONNECTIONS),
        max_pending_requests=limit,
        # All requests of an instance that dies may be retried at once. The default, 3, loses the rest.
        max_retries=limit,
    )
