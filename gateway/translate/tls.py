"""TLS at the edge: the certificate as a secret of its own (SDS), and the way from plain HTTP to it.

A new certificate is one small resource: connections that are open go on with the one they began with, and none is
drained.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from gateway.certificate import Certificate
from gateway.settings import GatewaySettings
from gateway.snapshot import Resource, ResourceType
from gateway.translate import access_log, errors, messages, names

_PROTOCOLS = ("h2", "http/1.1")


def secret(certificate: Certificate) -> Resource:
    """What clients are shown."""
    return tls_secret(names.CERTIFICATE, certificate)


def tls_secret(name: str, certificate: Certificate) -> Resource:
    """A certificate with its key, for Envoy's memory; its own dumps show neither."""
    pair = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_bytes=certificate.chain),
        private_key=base_pb2.DataSource(inline_bytes=certificate.key),
    )
    message = secret_pb2.Secret(name=name, tls_certificate=pair)
    return messages.resource(ResourceType.SECRET, name, message)


def transport_socket() -> base_pb2.TransportSocket:
    """The listener's side: TLS 1.2 or newer with the certificate that comes by SDS."""
    common = tls_pb2.CommonTlsContext(
        alpn_protocols=_PROTOCOLS,
        tls_params=common_pb2.TlsParameters(tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2),
        tls_certificate_sds_secret_configs=[
            secret_pb2.SdsSecretConfig(name=names.CERTIFICATE, sds_config=messages.ads())
        ],
    )
    return base_pb2.TransportSocket(
        name="envoy.transport_sockets.tls",
        typed_config=messages.pack(tls_pb2.DownstreamTlsContext(common_tls_context=common)),
    )


def redirect(settings: GatewaySettings, router: hcm.HttpFilter) -> hcm.HttpConnectionManager:
    """What plain HTTP gets: 308, which keeps the method and the body."""
    there = route_components_pb2.RedirectAction(
        https_redirect=True,
        port_redirect=settings.tls_port,
        response_code=route_components_pb2.RedirectAction.PERMANENT_REDIRECT,
    )
    everything = route_components_pb2.Route(match=route_components_pb2.RouteMatch(prefix="/"), redirect=there)
    host = route_components_pb2.VirtualHost(name="redirect", domains=["*"], routes=[everything])
    return hcm.HttpConnectionManager(
        stat_prefix="redirect",
        route_config=route_pb2.RouteConfiguration(name="redirect", virtual_hosts=[host]),
        http_filters=[router],
        local_reply_config=errors.local_reply_config(),
        access_log=access_log.access_logs(settings.access_log),
        use_remote_address=BoolValue(value=True),
        server_name="penstock",
        request_headers_timeout=messages.duration(settings.headers_timeout_ms),
        stream_idle_timeout=messages.duration(settings.stream_idle_timeout_ms),
        drain_timeout=messages.duration(settings.drain_seconds * 1000),
    )
