"""Listening sockets, made once by the supervisor and shared by its workers.

One accept queue for all workers, not one each (``SO_REUSEPORT``): a worker that dies takes no waiting
connection with it, and a port that is in use is an error. A socket is bound early, so that the error comes
early, and listens only once every worker is ready, so that nothing can connect before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_scorer.errors import AddressInUseError
from penstock_scorer.grpc.doorbell import LONGEST_SUFFIX

if TYPE_CHECKING:
    from penstock_scorer.settings import Settings

_MAX_PATH_BYTES = 107
_ALIVE = {socket.TCP_KEEPIDLE: 600, socket.TCP_KEEPINTVL: 60, socket.TCP_KEEPCNT: 5}
"""A client that says nothing for ten minutes is asked whether it is there, and given up after five more."""


def bind_tcp(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        AddressInUseError: the port cannot be had, or ``host`` is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A connection may rest as long as its client likes, but not as long as one that is no more.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _ALIVE.items():
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.bind(address)
    except OSError as error:
        raise AddressInUseError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return listener


def bind_unix(path: Path) -> socket.socket:
    """A bound Unix socket of mode 0600; a dead one in its place is removed.

    Raises:
        AddressInUseError: the path is too long, in use, or something else is there.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise AddressInUseError(f"The socket path {path} is longer than {_MAX_PATH_BYTES} bytes.")
    try:
        _remove_dead(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
    except OSError as error:
        raise AddressInUseError(f"Cannot listen on {path}: {error.strerror or error}.") from error
    return listener


class GrpcAddresses:
    """gRPC's addresses. Workers bind them by themselves; that they can is found out here, before anything starts.

    Raises:
        AddressInUseError: the port or a socket cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._held: socket.socket | None = None
        self._paths = [Path(place[5:]) for place in settings.grpc_addresses if place.startswith("unix:")]
        if settings.grpc_port is not None:
            self._held = _reserve_tcp(settings.host, settings.grpc_port)
        for path in self._paths:
            _check_unix(path, _MAX_PATH_BYTES - LONGEST_SUFFIX)

    def close(self) -> None:
        """Let the port go, remove the sockets."""
        for path in self._paths:
            path.unlink(missing_ok=True)
        if self._held is not None:
            self._held.close()


def _reserve_tcp(host: str, port: int) -> socket.socket:
    """A port for sockets that share it (``SO_REUSEPORT``), held by one that never listens."""
    # Alone first: those who have the port may be willing to share it.
    bind_tcp(host, port).close()
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    holder = socket.socket(family, kind, protocol)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except OSError as error:
        holder.close()
        raise AddressInUseError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return holder


def _check_unix(path: Path, longest: int) -> None:
    if len(os.fsencode(path)) > longest:
        raise AddressInUseError(f"The socket path {path} is longer than {longest} bytes.")
    if not os.access(path.parent, os.W_OK):
        raise AddressInUseError(f"Cannot listen on {path}: its folder does not exist or cannot be written to.")
    _remove_dead(path)


def _remove_dead(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise AddressInUseError(f"Cannot listen on {path}: it exists and is no socket.")
    except FileNotFoundError:
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise AddressInUseError(f"Cannot listen on {path}: another process does.")
