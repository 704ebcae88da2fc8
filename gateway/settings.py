"""Everything that can be set about a gateway, in one typed place.

The composition root fills in what an operator has a setting for, and the defaults here are the rest; nothing in the
gateway reads the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One gateway: where it listens, where its control sockets and files are, and how much it may use."""

    ads_socket: Path
    """Unix socket of the control plane's ADS server (mode 0600). At most 100 bytes: the kernel's limit is 108."""
    admin_socket: Path
    """Unix socket of Envoy's admin interface (mode 0600): it can stop the gateway and show its configuration."""
    access_log: Path
    """File that gets one JSON object per request, rotated by renaming and :meth:`gateway.admin.Admin.reopen_logs`."""
    bootstrap_file: Path
    """Where the bootstrap is written before Envoy starts."""
    snapshot_file: Path | None = None
    """Where the state is kept for a gateway that starts while the control plane is away (mode 0600). None: nowhere."""
    listen_address: str = "127.0.0.1"
    """IP address clients connect to. ``0.0.0.0`` opens it to the network."""
    listen_port: int = 8080
    """TCP port clients connect to."""
    tls_port: int | None = None
    """TCP port for TLS. With one, ``listen_port`` only redirects to it; a certificate must be set then."""
    mutual_tls: bool = False
    """Whether instances may be reached by ``tls://ADDRESS:PORT``; what gateways show to them must be set then."""
    node_id: str = "gateway"
    """Name of this gateway in the control plane's status. Unique where one control plane drives several."""
    concurrency: int = 2
    """Worker threads. One serves about 10,000 requests/s; each costs about 2 MB."""
    max_heap_bytes: int = 1024 * 1024 * 1024
    """Above 90 % of it Envoy gives memory back, above 98 % it refuses new requests (503) instead of being killed."""
    max_connections: int = 20_000
    """Client connections at once; more are closed at accept."""
    drain_seconds: int = 10
    """How long a stopping gateway lets in-flight requests finish."""
    headers_timeout_ms: int = 10_000
    """Milliseconds a client has to send its request headers (slow-loris)."""
    connection_idle_timeout_ms: int = 120_000
    """Milliseconds without a request until a client's connection is closed. Envoy's default of an hour would let
    anybody hold ``max_connections`` for nothing."""
    stream_idle_timeout_ms: int = 300_000
    """Milliseconds without a byte in either direction until a stream is closed. Deployments' own timeouts are
    usually shorter."""
    connect_timeout_ms: int = 1_000
    """Milliseconds to connect to an instance."""
    ack_timeout_s: float = 10.0
    """Seconds a connected Envoy has to acknowledge a change. A cold one with 5,000 endpoints needs about 3."""
