"""The certificate clients see: read from two files, and refused in one sentence before any Envoy hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

_MAX_BYTES = 1024 * 1024


class CertificateError(Exception):
    """The files make no usable certificate. The message names the file and never its content."""

    reason = "CertificateInvalid"
    hint = "--tls-cert takes a PEM chain, the server's own certificate first; --tls-key its key, without a password."


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain and its key, both PEM, that fit each other."""

    chain: bytes
    key: bytes = field(repr=False)
    expires: datetime
    """In UTC and aware of it."""


def load_certificate(chain_file: Path, key_file: Path, now: datetime) -> Certificate:
    """Read and check both files. Half a second the first time: call it off the event loop.

    Raises:
        CertificateError: one cannot be read or is not PEM, they do not fit, or the certificate is not valid now.
    """
    # 6 MB and 0.1 s, for platforms with TLS alone.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    chain, key = _read(chain_file), _read(key_file)
    try:
        certificates = load_pem_x509_certificates(chain)
    except ValueError:
        raise CertificateError(f"{chain_file} holds no certificate in PEM") from None
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise CertificateError(f"{key_file} is protected by a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{key_file} holds no private key in PEM") from None
    if private.public_key() != certificates[0].public_key():
        raise CertificateError(f"{key_file} is not the key of the certificate in {chain_file}")
    return Certificate(chain, key, _valid(certificates[0], chain_file, now))


def _valid(certificate: x509.Certificate, file: Path, now: datetime) -> datetime:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends:
        raise CertificateError(f"the certificate in {file} expired on {ends:%Y-%m-%d %H:%M} UTC")
    if now < begins:
        raise CertificateError(f"the certificate in {file} is not valid before {begins:%Y-%m-%d %H:%M} UTC")
    return ends


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            read = content.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CertificateError(f"{file} cannot be read: {error.strerror or error}") from None
    if len(read) > _MAX_BYTES:
        raise CertificateError(f"{file} is larger than {_MAX_BYTES} bytes")
    return read
