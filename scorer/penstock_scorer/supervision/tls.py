"""TLS on the scorer's port, with a certificate asked of both sides: which files, and whether they can be used.

The files are looked at before anything is bound, since granian ends the process on those it cannot use; and now and
then afterwards, so that a renewed certificate is shown without a restart.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from penstock_scorer.errors import SettingsError

Identity = tuple[tuple[int, int, int], ...]
"""Inode, time of change in ns and size of each file."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. The certificate and its key may be one file: then no moment shows half of a renewed pair."""

    cert: Path
    key: Path
    client_ca: Path
    """What a client's certificate must be signed by; one that is not good for calling is refused, too."""

    def check(self) -> float:
        """When the certificate expires, in seconds since 1970.

        Raises:
            SettingsError: a file is missing or damaged, the key is another's, or the certificate is not valid now.
        """
        for file, flag in ((self.cert, "tls_cert"), (self.key, "tls_key"), (self.client_ca, "tls_client_ca")):
            try:
                file.read_bytes()
            except OSError as error:
                raise SettingsError(f"{file} (--{flag}) cannot be read: {error.strerror}.") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError):
            raise SettingsError(
                f"{self.cert} and {self.key} (--tls_cert, --tls_key) are no certificate and its key in PEM."
            ) from None
        try:
            context.load_verify_locations(self.client_ca)
        except (ssl.SSLError, OSError):
            raise SettingsError(f"{self.client_ca} (--tls_client_ca) holds no certificate in PEM.") from None
        # Not documented, and the same from 3.10 to 3.14; the alternatives need a package or a handshake.
        held = ssl._ssl._test_decode_cert(str(self.cert))  # type: ignore[attr-defined]  # noqa: SLF001
        begins, ends = (ssl.cert_time_to_seconds(held[end]) for end in ("notBefore", "notAfter"))
        if not begins <= time.time() < ends:
            when = f"expired on {held['notAfter']}" if time.time() >= ends else f"begins on {held['notBefore']}"
            raise SettingsError(f"The certificate in {self.cert} (--tls_cert) {when}.")
        return ends

    def identity(self) -> Identity:
        """What changes when a file is replaced."""
        return tuple(_one(file) for file in (self.cert, self.key, self.client_ca))


def _one(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
