"""Every setting and its default. Where they come from: :mod:`penstock_scorer.configuration`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from penstock_scorer import __version__
from penstock_scorer.supervision.tls import TlsFiles


@dataclass(frozen=True)
class Settings:
    """What this scorer does. Built by :func:`penstock_scorer.configuration.resolve`."""

    entry_script: Path
    app_root: Path
    source_dir: Path | None = None
    model_dir: str | None = None
    """Shown to the script as ``AZUREML_MODEL_DIR``."""
    host: str = "127.0.0.1"
    port: int = 5001
    health_port: int | None = None
    """A second port that answers ``GET /`` only; None: there is none."""
    uds: Path | None = None
    """Listen on this Unix socket (mode 0600) instead of a port."""
    grpc_port: int | None = None
    """Serve gRPC on this port; None, and no ``grpc_uds``: there is no gRPC."""
    grpc_uds: Path | None = None
    """Serve gRPC on this Unix socket (mode 0600); with several workers, ``PATH.0``, ``PATH.1`` and so on. Nothing
    gRPC needs is loaded before the first call."""
    tls: TlsFiles | None = None
    """Speak TLS on both ports, and ask clients for a certificate; None: plain."""
    worker_count: int = 1
    preload: bool = False
    """Import the script and call ``init`` once, before the workers are forked (``WORKER_PRELOAD``)."""
    worker_timeout_s: float = 300.0
    """Seconds an interrupted ``run`` may go on before its worker is replaced (``WORKER_TIMEOUT``)."""
    scoring_timeout_ms: int = 3_600_000
    max_concurrent: int | None = None
    """Requests this instance runs at once, over all workers; None: one for each worker."""
    max_queue_wait_ms: int | None = None
    """Milliseconds a request may wait for its turn; None: as long as it takes."""
    max_queue: int = 1024
    """Requests that may wait in one worker."""
    max_request_bytes: int = 64 * 2**20
    """A larger body is answered 413."""
    drain_seconds: float = 30.0
    """Seconds for requests in flight after SIGTERM."""
    cors_origins: tuple[str, ...] = ()
    service_name: str = "ML service"
    service_version: str = "1.0"
    model_identity: tuple[str, str] = ("model", "1")
    """The model's name and version in the Open Inference Protocol (:mod:`penstock_scorer.inference.model`)."""
    service_path_prefix: str = ""
    log_level: str = "INFO"
    json_logs: bool = False
    """Log lines are JSON objects (``PENSTOCK_LOG_FORMAT=json``)."""
    access_log: bool = False
    """A line on stdout for each answer (``PENSTOCK_ACCESS_LOG=true``)."""
    server_version: str | None = f"penstock-scorer/{__version__}"
    """The header ``x-ms-server-version``; None: not sent."""
    auth_policy: Path | None = None
    failure_file: Path | None = None
    """Where to say, as JSON, why the start failed (``PENSTOCK_FAILURE_FILE``)."""
    notes: tuple[str, ...] = field(default=())
    """Sentences to print at the start."""

    @property
    def slots(self) -> int:
        """Requests one worker runs at once, at most: the largest :meth:`share`."""
        return self.share(0)

    def share(self, worker: int) -> int:
        """Requests the worker of this index runs at once: the shares of all add up to ``max_concurrent``."""
        if self.max_concurrent is None:
            return 1
        return max(1, self.max_concurrent // self.worker_count + (worker < self.max_concurrent % self.worker_count))

    @property
    def one_at_once(self) -> bool:
        """Whether each worker runs one request at once: the hosted service's default, and ours."""
        return self.max_concurrent is None or self.max_concurrent == self.worker_count

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the scorer."""
        return self.uds is not None or is_loopback(self.host)

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        if self.uds is not None:
            return f"unix:{self.uds}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def grpc_addresses(self) -> list[str]:
        """Where each worker serves gRPC, as gRPC spells addresses; empty: nowhere."""
        if self.grpc_uds is not None:
            return [f"unix:{self.grpc_path(index)}" for index in range(self.worker_count)]
        if self.grpc_port is not None:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return [f"{host}:{self.grpc_port}"] * self.worker_count
        return []

    def grpc_path(self, worker: int) -> Path:
        """The Unix socket at which the worker of this index serves gRPC."""
        if self.grpc_uds is None:
            raise ValueError("gRPC is not served on a Unix socket")
        return self.grpc_uds if self.worker_count == 1 else self.grpc_uds.with_name(f"{self.grpc_uds.name}.{worker}")

    def describe(self) -> list[tuple[str, str]]:
        """Settings in force, as printed at the start."""
        return [
            ("Entry script", str(self.entry_script)),
            ("Model directory", self.model_dir or "none"),
            ("Listening at", self.address),
            ("Health port", str(self.health_port or "none of its own")),
            ("Client certificates", f"signed by {self.tls.client_ca}" if self.tls else "not asked for"),
            ("gRPC", ", ".join(dict.fromkeys(self.grpc_addresses)) or "none"),
            ("Workers", str(self.worker_count)),
            ("Requests at once per worker", str(self.slots)),
            ("Queue wait", "no limit" if self.max_queue_wait_ms is None else f"{self.max_queue_wait_ms} ms"),
            ("Scoring timeout", f"{self.scoring_timeout_ms} ms"),
            ("CORS origins", ", ".join(self.cors_origins) or "none"),
            (
                "Authentication",
                f"policy {self.auth_policy}" if self.auth_policy else "OFF (stand-alone on this machine)",
            ),
        ]


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address only this machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
