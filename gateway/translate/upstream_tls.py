"""Mutual TLS between the gateway and instances that are reached over TCP (``tls://ADDRESS:PORT``).

Two secrets are shared by every cluster and come by SDS, so that a renewed certificate is one small resource and no
cluster changes. Which name an instance must prove is the deployment's own, so it is in the cluster. Instances behind a
Unix socket are not asked for anything: the folder it lies in says who may use it.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.struct_pb2 import Struct

from gateway.certificate import Certificate
from gateway.snapshot import Key, Resource, ResourceType
from gateway.translate import messages, names
from gateway.translate.tls import tls_secret

MATCH_METADATA = "envoy.transport_socket_match"
"""Where Envoy looks, in the metadata of a host, for what chooses its transport socket."""
_MATCH = {"mutual_tls": True}
REFS: tuple[Key, ...] = ((ResourceType.SECRET, names.UPSTREAM_CERTIFICATE), (ResourceType.SECRET, names.AUTHORITY))
"""What every cluster needs for it."""


def secrets(client: Certificate, authority: bytes) -> tuple[Resource, Resource]:
    """The certificate that gateways show to instances, and the authority (PEM) that signed the instances' own."""
    trusted = common_pb2.CertificateValidationContext(trusted_ca=base_pb2.DataSource(inline_bytes=authority))
    return (
        tls_secret(names.UPSTREAM_CERTIFICATE, client),
        messages.resource(
            ResourceType.SECRET,
            names.AUTHORITY,
            secret_pb2.Secret(name=names.AUTHORITY, validation_context=trusted),
        ),
    )


def matches(endpoint: str, deployment: str, *, grpc: bool) -> list[cluster_pb2.Cluster.TransportSocketMatch]:
    """The cluster's side: TLS to the hosts that are marked, none to the others."""
    marked, any_host = Struct(), Struct()
    marked.update(_MATCH)
    plain = base_pb2.TransportSocket(
        name="envoy.transport_sockets.raw_buffer", typed_config=messages.pack(raw_buffer_pb2.RawBuffer())
    )
    return [
        cluster_pb2.Cluster.TransportSocketMatch(
            name="mutual-tls", match=marked, transport_socket=_socket(endpoint, deployment, grpc=grpc)
        ),
        cluster_pb2.Cluster.TransportSocketMatch(name="plain", match=any_host, transport_socket=plain),
    ]


def mark() -> base_pb2.Metadata:
    """The host's side."""
    metadata = base_pb2.Metadata()
    metadata.filter_metadata[MATCH_METADATA].update(_MATCH)
    return metadata


def _socket(endpoint: str, deployment: str, *, grpc: bool) -> base_pb2.TransportSocket:
    expected = common_pb2.SubjectAltNameMatcher(
        san_type=common_pb2.SubjectAltNameMatcher.URI,
        matcher=string_pb2.StringMatcher(exact=names.scorer_identity(endpoint, deployment)),
    )
    common = tls_pb2.CommonTlsContext(
        alpn_protocols=["h2" if grpc else "http/1.1"],
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            # Envoy offers servers 1.2 at most unless told.
            tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[
            secret_pb2.SdsSecretConfig(name=names.UPSTREAM_CERTIFICATE, sds_config=messages.ads())
        ],
        combined_validation_context=tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=common_pb2.CertificateValidationContext(
                match_typed_subject_alt_names=[expected]
            ),
            validation_context_sds_secret_config=secret_pb2.SdsSecretConfig(
                name=names.AUTHORITY, sds_config=messages.ads()
            ),
        ),
    )
    return base_pb2.TransportSocket(
        name="envoy.transport_sockets.tls",
        typed_config=messages.pack(tls_pb2.UpstreamTlsContext(common_tls_context=common)),
    )
