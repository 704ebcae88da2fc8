"""``penstock gateway renew``: the next certificate of a gateway on another machine, run there.

It needs nothing but the folder that ``penstock gateway enroll`` wrote. The file is replaced whole, and Envoy takes it
up by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.command import Command
from penstock.cli.context import Context
from penstock.errors import PlatformError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_METHOD = "/penstock.gateway.Renewal/Renew"
_SERVER_NAME = "controlplane.penstock"
"""Its certificate is for this name, by whatever address it is reached."""
_KEY = b"-----BEGIN PRIVATE KEY"
_CALL_SECONDS = 30.0
_LOOK_SECONDS = 3600.0
_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Held:
    """What lies in the folder."""

    chain: bytes
    key: bytes
    authority: bytes
    address: str
    begins: datetime
    expires: datetime

    @property
    def due(self) -> datetime:
        """When half of its life has passed."""
        return self.begins + (self.expires - self.begins) / 2


def renew(context: Context, parsed: argparse.Namespace) -> dict[str, Any] | None:
    """Renew a gateway's certificate, on its own machine; with ``--watch`` whenever half of its life has passed."""
    folder: Path = parsed.directory.expanduser().absolute()
    while parsed.watch:
        try:
            held = _read(folder)
            if datetime.now(UTC) >= held.due:
                context.console.done(f"renewed until {_renewed(folder, held):%Y-%m-%d %H:%M} UTC")
            time.sleep(_LOOK_SECONDS)
        except PlatformError as error:
            context.console.note(f"{error}; it is tried again")
            time.sleep(_RETRY_SECONDS)
    expires = _renewed(folder, _read(folder))
    context.console.done(f"renewed until {expires:%Y-%m-%d %H:%M} UTC")
    return {"directory": str(folder), "expires": expires.isoformat()}


def _renewed(folder: Path, held: _Held) -> datetime:
    """Fetch the next certificate into ``folder``; until when it is valid.

    Raises:
        PlatformError: the control plane is away, or does not know the gateway any more; what was there still is.
    """
    import grpc  # noqa: PLC0415 - 0.1 s that no other command of the group need wait for

    if datetime.now(UTC) >= held.expires:
        raise PlatformError(
            f"the certificate in {folder} expired on {held.expires:%Y-%m-%d %H:%M} UTC",
            hint="`penstock gateway enroll` on the control plane's machine makes another",
        )
    credentials = grpc.ssl_channel_credentials(held.authority, held.key, held.chain)
    # As Envoy does: straight there, whatever proxy the environment names.
    options = (("grpc.ssl_target_name_override", _SERVER_NAME), ("grpc.enable_http_proxy", 0))
    try:
        with grpc.secure_channel(held.address, credentials, options) as channel:
            call: Any = channel.unary_unary(_METHOD)
            pem: bytes = call(b"", timeout=_CALL_SECONDS)
    except grpc.RpcError as error:
        code = error.code()
        if code is grpc.StatusCode.PERMISSION_DENIED:
            raise PlatformError(f"the control plane at {held.address} does not let this gateway in any more") from None
        raise PlatformError(
            f"the control plane at {held.address} cannot be reached, or is not the one that enrolled this gateway"
        ) from None
    expires = _certificate(folder, pem).not_valid_after_utc  # before the present one is replaced by it
    try:
        partial = folder / ".identity.pem.new"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / "identity.pem")
    except OSError as error:
        raise PlatformError(f"{folder} cannot be written: {error.strerror or error}") from None
    return expires


def _read(folder: Path) -> _Held:
    try:
        pem, authority = (folder / "identity.pem").read_bytes(), (folder / "ca.pem").read_bytes()
        (cluster,) = json.loads((folder / "bootstrap.json").read_bytes())["static_resources"]["clusters"]
        (locality,) = cluster["load_assignment"]["endpoints"]
        address = locality["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    except OSError as error:
        raise PlatformError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise PlatformError(f"{folder} is not what `penstock gateway enroll` wrote") from None
    certificate, at = _certificate(folder, pem), pem.index(_KEY)
    host = f"[{address['address']}]" if ":" in address["address"] else address["address"]
    return _Held(
        chain=pem[:at],
        key=pem[at:],
        authority=authority,
        address=f"{host}:{address['port_value']}",
        begins=certificate.not_valid_before_utc,
        expires=certificate.not_valid_after_utc,
    )


def _certificate(folder: Path, pem: bytes) -> Certificate:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - as above

    try:
        load_pem_private_key(pem[pem.index(_KEY) :], password=None)
        return load_pem_x509_certificate(pem)
    except ValueError:
        raise PlatformError(f"the certificate or the key for {folder / 'identity.pem'} is damaged") from None


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder that `penstock gateway enroll` wrote")
    parser.add_argument("--watch", action="store_true", help="go on, and renew in time: for systemd")


COMMANDS = (Command("renew", "Renew the certificate of a gateway, on its own machine.", renew, _arguments),)
