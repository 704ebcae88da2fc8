"""What a gateway on another machine is started with: a bootstrap that finds the control plane over mutual TLS.

Every path in it is relative (``./``: Envoy refuses to watch a file without a slash): the folder may lie anywhere, and
Envoy is started in it. The certificate comes by SDS from a file, so that Envoy takes a newer one without a restart:
whoever renews it replaces the file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gateway.ads_port import CONTROL_PLANE
from gateway.bootstrap import bootstrap
from gateway.settings import GatewaySettings
from gateway.translate.names import CONTROL_CLUSTER

BOOTSTRAP = "bootstrap.json"
IDENTITY = "identity.pem"
"""The certificate and its key, in one file."""
AUTHORITY = "ca.pem"
_SECRET = "identity.json"
_SECRET_NAME = "identity"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_CONNECTION_SECONDS = 10
"""New calls get a new connection after it, and open ones stay on theirs. A gateway that is turned away would show the
certificate it had at its first handshake for ever, though it was given another."""
_HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def settings_of(platform: GatewaySettings, name: str, address: str, port: int, tls_port: int) -> GatewaySettings:
    """The settings of a gateway on another machine: the platform's, but for where it listens and keeps its files.

    It speaks TLS, on ``tls_port``, if the platform does.
    """
    return replace(
        platform,
        ads_socket=Path("unused"),
        admin_socket=Path("admin.sock"),
        access_log=Path("access.log"),
        bootstrap_file=Path(BOOTSTRAP),
        snapshot_file=None,
        node_id=name,
        listen_address=address,
        listen_port=port,
        tls_port=tls_port if platform.tls_port is not None else None,
    )


def files(settings: GatewaySettings, host: str, port: int) -> dict[str, str]:
    """What lies in the folder beside the certificate: name -> content. ``host`` and ``port``: the control plane's."""
    return {
        BOOTSTRAP: json.dumps(bootstrap(settings, _control_cluster(host, port)), indent=1),
        _SECRET: json.dumps(_secret(), indent=1),
    }


def _secret() -> dict[str, Any]:
    pair = {"certificate_chain": {"filename": f"./{IDENTITY}"}, "private_key": {"filename": f"./{IDENTITY}"}}
    return {"resources": [{"@type": f"{_TLS}.Secret", "name": _SECRET_NAME, "tls_certificate": pair}]}


def _control_cluster(host: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": host.strip("[]"), "port_value": port}}
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    source = {"path_config_source": {"path": f"./{_SECRET}"}, "resource_api_version": "V3"}
    trust = {
        "trusted_ca": {"filename": f"./{AUTHORITY}"},
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": CONTROL_PLANE}}],
    }
    common = {
        "tls_params": versions,
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [{"name": _SECRET_NAME, "sds_config": source}],
        "validation_context": trust,
    }
    # A control plane whose machine is gone is found out, and asked for again.
    http2 = {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
    return {
        "name": CONTROL_CLUSTER,
        "type": "STATIC" if _is_ip(host) else "STRICT_DNS",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "common_http_protocol_options": {"max_connection_duration": f"{_CONNECTION_SECONDS}s"},
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": f"{_TLS}.UpstreamTlsContext", "common_tls_context": common},
        },
        "load_assignment": {
            "cluster_name": CONTROL_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _is_ip(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
