"""LDS: the listeners. They know no endpoint, so they do not change when one does."""

from __future__ import annotations

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, extension_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from gateway.settings import GatewaySettings
from gateway.snapshot import Resource, ResourceType, Snapshot
from gateway.translate import access_log, errors, filters, messages, names, scoped_route, tls

_CONNECTION_BUFFER_BYTES = 1024 * 1024
_MAX_STREAMS = 1024
"""HTTP/2 streams of one connection."""


def listeners(settings: GatewaySettings) -> tuple[Resource, ...]:
    """What clients connect to: one port, or with TLS two, of which the plain one only redirects."""
    serving = _connection_manager(settings)
    if settings.tls_port is None:
        return (_listener(names.LISTENER, settings, settings.listen_port, serving),)
    away = tls.redirect(settings, filters.http_filters()[-1])
    return (
        _listener(names.LISTENER, settings, settings.listen_port, away),
        _listener(names.LISTENER_TLS, settings, settings.tls_port, serving, tls.transport_socket()),
    )


def _listener(
    name: str,
    settings: GatewaySettings,
    port: int,
    manager: hcm.HttpConnectionManager,
    transport_socket: base_pb2.TransportSocket | None = None,
) -> Resource:
    network_filter = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=messages.pack(manager)
    )
    address = address_pb2.SocketAddress(address=settings.listen_address, port_value=port)
    chain = listener_components_pb2.FilterChain(filters=[network_filter], transport_socket=transport_socket)
    if transport_socket is not None:
        # A client that connects and says nothing holds a connection no longer than one that sends no headers.
        chain.transport_socket_connect_timeout.CopyFrom(messages.duration(settings.headers_timeout_ms))
    message = listener_pb2.Listener(
        name=name,
        address=address_pb2.Address(socket_address=address),
        per_connection_buffer_limit_bytes=UInt32Value(value=_CONNECTION_BUFFER_BYTES),
        filter_chains=[chain],
    )
    return messages.resource(ResourceType.LISTENER, name, message)


def listening(snapshot: Snapshot) -> tuple[str, int, int | None]:
    """Where clients connect, of a snapshot with listeners: the address, the port, and the one for TLS (None: none)."""
    found = {
        name: listener_pb2.Listener.FromString(resource.body).address.socket_address
        for name, resource in snapshot.resources(ResourceType.LISTENER).items()
    }
    tls = found.get(names.LISTENER_TLS)
    return found[names.LISTENER].address, found[names.LISTENER].port_value, None if tls is None else tls.port_value


def _connection_manager(settings: GatewaySettings) -> hcm.HttpConnectionManager:
    true = BoolValue(value=True)
    return hcm.HttpConnectionManager(
        stat_prefix=names.LISTENER,
        scoped_routes=scoped_route.scoped_routes(),
        http_filters=filters.http_filters(),
        local_reply_config=errors.local_reply_config(),
        access_log=access_log.access_logs(settings.access_log),
        early_header_mutation_extensions=[_strip_identity()],
        # Without these three `/endpoints/open/../a/score` is checked against `open` and answered by `a`.
        normalize_path=true,
        merge_slashes=True,
        path_with_escaped_slashes_action=hcm.HttpConnectionManager.REJECT_REQUEST,
        # The edge: a client's X-Forwarded-For is not believed, its address is what the socket says.
        use_remote_address=true,
        # The client's own x-request-id is kept as it is: it is what users search their logs for.
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        request_id_extension=hcm.RequestIDExtension(
            typed_config=messages.pack(uuid_pb2.UuidRequestIdConfig(pack_trace_reason=BoolValue(value=False)))
        ),
        server_name="penstock",
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=messages.duration(settings.connection_idle_timeout_ms),
            # `x_penstock_client` reads like `x-penstock-client` in WSGI and CGI.
            headers_with_underscores_action=protocol_pb2.HttpProtocolOptions.DROP_HEADER,
        ),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=UInt32Value(value=_MAX_STREAMS),
            # WebSocket over HTTP/2 (RFC 8441). A CONNECT without it finds no route.
            allow_connect=True,
        ),
        # Known, and off unless a route switches it on.
        upgrade_configs=[
            hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket", enabled=BoolValue(value=False))
        ],
        request_headers_timeout=messages.duration(settings.headers_timeout_ms),
        stream_idle_timeout=messages.duration(settings.stream_idle_timeout_ms),
        drain_timeout=messages.duration(settings.drain_seconds * 1000),
    )


def _strip_identity() -> extension_pb2.TypedExtensionConfig:
    removals = [
        mutation_rules_pb2.HeaderMutation(
            remove_on_match=mutation_rules_pb2.HeaderMutation.RemoveOnMatch(
                key_matcher=string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=pattern))
            )
        )
        for pattern in names.IDENTITY_HEADERS
    ]
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=messages.pack(header_mutation_pb2.HeaderMutation(mutations=removals)),
    )
