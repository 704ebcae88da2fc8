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
from gateway.snapshot import Key, Resource, ResourceType
from gateway.translate import messages, names, outlier, upstream_tls

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_IDLE_MS = 60_000
"""Idle upstream connections are closed after a minute: below what servers usually keep (75 s), so that the gateway
hangs up first and no request meets a closing connection."""
_CONNECTIONS = 1_000_000
"""Never reached: requests are what is limited."""
_MAGLEV_TABLE = 2039
"""Entries, a prime. The default of 65,537 costs 500 KB a cluster and is meant for thousands of hosts."""
_EXPLICIT = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig
_HTTP1 = _EXPLICIT(http_protocol_options=protocol_pb2.Http1ProtocolOptions())
_HTTP2 = _EXPLICIT(http2_protocol_options=protocol_pb2.Http2ProtocolOptions())
PENDING_FACTOR = 2
"""The hosted service's rule: requests beyond 2 x max_concurrent x instances are refused with 429."""


def cluster(endpoint: str, deployment: DeploymentRoute, settings: GatewaySettings, *, grpc: bool = False) -> Resource:
    """The cluster of ``deployment``, for HTTP/1.1 or for gRPC; its hosts come over EDS."""
    name = names.cluster_name(endpoint, deployment.name, grpc=grpc)
    message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=messages.ads()),
        connect_timeout=messages.duration(settings.connect_timeout_ms),
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            # Else Envoy sends traffic to draining hosts when most are draining.
            healthy_panic_threshold=percent_pb2.Percent(value=0),
            # Else changes of health wait up to a second.
            update_merge_window=Duration(),
        ),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[_thresholds(deployment)]),
        outlier_detection=outlier.detection(),
    )
    _balance(message, deployment)
    options = http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=messages.duration(_IDLE_MS)),
        explicit_http_config=_HTTP2 if grpc else _HTTP1,
    )
    message.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(messages.pack(options))
    refs: tuple[Key, ...] = ((ResourceType.ENDPOINTS, name),)
    if settings.mutual_tls:
        message.transport_socket_matches.extend(upstream_tls.matches(endpoint, deployment.name, grpc=grpc))
        refs += upstream_tls.REFS
    return messages.resource(ResourceType.CLUSTER, name, message, refs)


def _balance(message: cluster_pb2.Cluster, deployment: DeploymentRoute) -> None:
    if deployment.sticky_instances:
        # The hash comes from the route; where a request has none, the instance is drawn at random.
        message.lb_policy = cluster_pb2.Cluster.MAGLEV
        message.maglev_lb_config.table_size.value = _MAGLEV_TABLE
        return
    # Scoring times vary by orders of magnitude, so the least busy instance is the better choice than the next.
    message.lb_policy = cluster_pb2.Cluster.LEAST_REQUEST
    if deployment.slow_start_ms:
        window = message.least_request_lb_config.slow_start_config.slow_start_window
        window.CopyFrom(messages.duration(deployment.slow_start_ms))


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
