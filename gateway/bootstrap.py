"""The bootstrap: the little an Envoy must know to ask the control plane for everything else.

It is JSON, because Envoy's YAML reads a node id such as ``n`` as false.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gateway.settings import GatewaySettings
from gateway.translate.names import CONTROL_CLUSTER

STATS_KEPT = (
    "cluster_manager.",
    "http.gateway.",
    "listener_manager.",
    "server.",
    "control_plane.",
    "overload.",
    "access_logs.",
)
"""Prefixes of the statistics kept. At 5,000 endpoints keeping all costs 285 MB and 3.7 s of a cold start."""

_HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_RECONNECT = {"base_interval": "0.1s", "max_interval": "1s"}
"""Envoy's default waits up to 30 s for a control plane that is back."""


def bootstrap(settings: GatewaySettings, control_cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    """The bootstrap of one gateway, as a JSON-able tree.

    ``control_cluster``: the control plane, where it is not reached by :attr:`GatewaySettings.ads_socket`.
    """
    ads: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": settings.node_id, "cluster": "penstock"},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": CONTROL_CLUSTER,
                            "retry_policy": {"retry_back_off": _RECONNECT},
                        }
                    }
                ],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "cluster_manager": {
            "load_stats_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": CONTROL_CLUSTER}}],
            }
        },
        "static_resources": {"clusters": [control_cluster or _control_cluster(settings.ads_socket)]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": p} for p in STATS_KEPT]}}},
        "overload_manager": _overload_manager(settings),
    }


def write_bootstrap(settings: GatewaySettings) -> Path:
    """Write the bootstrap where ``settings`` say (mode 0600, replaced whole), and return its path."""
    target = settings.bootstrap_file
    partial = target.with_name(f"{target.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(bootstrap(settings), file, indent=1)
    partial.replace(target)
    return target


def _control_cluster(socket: Path) -> dict[str, Any]:
    address = {"pipe": {"path": str(socket)}}
    return {
        "name": CONTROL_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": CONTROL_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _overload_manager(settings: GatewaySettings) -> dict[str, Any]:
    """Under pressure: give memory back, then idle connections, then refuse new work. Never be killed instead."""
    monitors = "type.googleapis.com/envoy.extensions.resource_monitors"
    heap = "envoy.resource_monitors.fixed_heap"
    connections = "envoy.resource_monitors.global_downstream_max_connections"
    thresholds = {
        "envoy.overload_actions.shrink_heap": 0.9,
        "envoy.overload_actions.disable_http_keepalive": 0.95,
        "envoy.overload_actions.stop_accepting_requests": 0.98,
    }
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": {
                    "@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": settings.max_heap_bytes,
                },
            },
            {
                "name": connections,
                "typed_config": {
                    "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": settings.max_connections,
                },
            },
        ],
        "actions": [
            {"name": action, "triggers": [{"name": heap, "threshold": {"value": value}}]}
            for action, value in thresholds.items()
        ],
    }
