"""Instances at ports instead of Unix sockets, for gateways of other machines: a port, a certificate, a way to ask.

Each instance has its certificate and key in its folder, in one file that is replaced whole when half of its life has
passed; the scorer takes it up (docs/decisions/mutual-tls.md).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Callable, Collection, Iterable
from typing import NoReturn

import structlog

from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.backends.process.probes import LONGEST_STATUS_LINE, Dial, Streams, unix
from controlplane.domain.ports import PreparationError
from controlplane.pki import identity
from controlplane.pki.authority import Leaf, Use
from controlplane.pki.issuer import Issuer, Renewing
from controlplane.private_file import write_private

_SHUTDOWN_SECONDS = 0.5
_PAUSE_SHARE = 0.1
"""How often in a certificate's life it is looked whether it is to be renewed."""
_LONGEST_PAUSE_SECONDS = 60.0
_log = structlog.get_logger()


class InstanceTls:
    """Mutual TLS with the instances of one home, those that an earlier control plane started included."""

    def __init__(self, issuer: Issuer, host: str, ports: range, chance: random.Random) -> None:
        """``host``: this machine's address, for new instances; empty: they get Unix sockets."""
        self.host = host
        self._issuer, self._ports, self._chance = issuer, ports, chance
        self._own = Renewing(issuer, identity.CONTROL_PLANE, Use.CALL)
        self._context: tuple[Leaf, ssl.SSLContext] | None = None

    def addresses(self, taken: Collection[str], count: int) -> tuple[str, ...]:
        """So many addresses that nobody listens at, and that are not in ``taken``.

        Somebody may take one before the instance does; that fails to start then, and another takes its place.

        Raises:
            PreparationError: no port is free.
        """
        start = self._chance.randrange(len(self._ports))
        found: list[str] = []
        for port in (*self._ports[start:], *self._ports[:start]):
            address = f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"
            if address not in taken and self._is_free(port):
                found.append(address)
                if len(found) == count:
                    return tuple(found)
        ports = f"{self._ports[0]}-{self._ports[-1]}"
        raise PreparationError("NoPort", f"no port of {ports} on {self.host} is free for the instance", transient=True)

    def equip(self, files: InstanceFiles, manifest: Manifest) -> None:
        """Give an instance what it shows and whom it trusts.

        Raises:
            OSError: the disk is full, ...
        """
        leaf = self._issuer.issue(identity.scorer(manifest.endpoint, manifest.deployment), Use.ANSWER)
        write_private(files.authority, self._issuer.authority)
        write_private(files.certificate, leaf.pem)

    async def keep(self, instances: Callable[[], Iterable[tuple[InstanceFiles, Manifest]]]) -> NoReturn:
        """Renew their certificates in time, for good."""
        pause = min(_LONGEST_PAUSE_SECONDS, self._issuer.life.total_seconds() * _PAUSE_SHARE)
        while True:
            # At once: a control plane that was away for long may find them expired.
            for files, manifest in list(instances()):
                try:
                    if await asyncio.to_thread(self.renew, files, manifest):
                        _log.info("renewed an instance's certificate", instance=files.id)
                except FileNotFoundError:
                    continue  # it was stopped meanwhile
                except OSError as error:
                    _log.warning("an instance's certificate cannot be renewed", instance=files.id, error=str(error))
            await asyncio.sleep(pause)

    def renew(self, files: InstanceFiles, manifest: Manifest) -> bool:
        """Give an instance a newer certificate if it is time; whether it was.

        Raises:
            OSError: the disk is full, it has been stopped, ...
        """
        if not manifest.address:
            return False
        shown = files.certificate.read_bytes() if files.certificate.exists() else b""
        if not self._issuer.is_due_pem(shown):
            return False
        self.equip(files, manifest)
        return True

    def dial(self, manifest: Manifest) -> Dial:
        """The way to an instance: it must prove that it is of its deployment."""
        if not manifest.address:
            return unix(manifest.socket)
        host, _, port = manifest.address.rpartition(":")
        expected = ("URI", identity.scorer(manifest.endpoint, manifest.deployment))

        async def connect() -> Streams:
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=self._client(), limit=LONGEST_STATUS_LINE,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )  # fmt: skip
            names = writer.get_extra_info("peercert").get("subjectAltName", ())
            if expected not in names:
                writer.transport.abort()
                raise ConnectionError(f"{manifest.address} is {names}, not {expected}")
            return reader, writer

        return connect

    def _client(self) -> ssl.SSLContext:
        leaf = self._own.current()
        if self._context is None or self._context[0] is not leaf:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            # Who it is says the URI, not the address; see above.
            context.check_hostname = False
            context.load_verify_locations(cadata=self._issuer.authority.decode())
            # OpenSSL takes a certificate from a file alone; a full disk must not make instances look dead.
            with os.fdopen(os.memfd_create("certificate"), "wb") as file:
                file.write(leaf.pem)
                file.flush()
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
            self._context = leaf, context
        return self._context[1]

    def _is_free(self, port: int) -> bool:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((self.host, port))
            except OSError:
                return False
            return True


def unreachable(manifest: Manifest) -> Dial:
    """The way to an instance where there is no authority any more: none, if it is not at a Unix socket."""
    if not manifest.address:
        return unix(manifest.socket)

    async def refuse() -> Streams:
        raise ConnectionError("the authority that signed its certificate is gone")

    return refuse
