"""Reads the address of a host: a Unix socket or an IP address and port. Names are refused, they would need DNS."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of Linux, less its terminating zero."""

_MAX_PORT = 65_535
_MUTUAL_TLS = "tls://"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket by its absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address and a TCP port."""

    ip: str
    port: int
    mutual_tls: bool = False
    """Whether both sides prove who they are, with certificates of the platform's authority."""


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Read ``unix:///absolute/path.sock``, ``127.0.0.1:5001`` or ``[::1]:5001``, or either behind ``tls://``.

    Raises:
        ValueError: with a sentence that names the mistake.
    """
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith("/"):
            raise ValueError(f"{text!r} is not a Unix socket by absolute path (unix:///run/x.sock).")
        if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"The Unix socket path {path!r} is longer than {MAX_SOCKET_PATH_BYTES} bytes.")
        return UnixAddress(path)
    host, separator, port = text.removeprefix(_MUTUAL_TLS).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ip = str(ip_address(host))
    except ValueError:
        ip = ""
    if not separator or not ip or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _MAX_PORT:
        raise ValueError(f"{text!r} is neither unix:///PATH nor an IP address and port such as 127.0.0.1:5001.")
    return TcpAddress(ip, int(port), mutual_tls=text.startswith(_MUTUAL_TLS))
