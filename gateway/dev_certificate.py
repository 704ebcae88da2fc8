"""A certificate for development: a small authority of this home alone, and a server certificate from it.

Whoever trusts ``ca.pem`` trusts what this home signs, so its key never leaves the folder, and it can sign for these
names only as long as somebody who has read the file wants to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.certificate import CertificateError, load_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, Name

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=90)
RENEWED_BEFORE_END = timedelta(days=30)
_BACKDATED = timedelta(hours=1)
"""For clients whose clocks are behind."""


@dataclass(frozen=True, slots=True)
class DevCertificate:
    """The files, in one folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        """What clients trust."""
        return self.folder / "ca.pem"

    @property
    def chain(self) -> Path:
        """The server's certificate."""
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        """The server's key (mode 0600)."""
        return self.folder / "key.pem"

    @property
    def _authority_key(self) -> Path:
        return self.folder / "ca-key.pem"

    def ensure(self, names: Sequence[str], now: datetime) -> None:
        """Make what is missing, was made for other names, or ends within 30 days. A tenth of a second of work.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = self._authority(now)
        if authority is None:
            authority = self._make_authority(now)
        elif self._fits(names, now):
            return
        self._make_server(*authority, names, now)

    def _fits(self, names: Sequence[str], now: datetime) -> bool:
        from cryptography.x509 import (  # noqa: PLC0415
            ExtensionNotFound,
            SubjectAlternativeName,
            load_pem_x509_certificate,
        )

        try:
            certificate = load_certificate(self.chain, self.key, now)
            extensions = load_pem_x509_certificate(certificate.chain).extensions
            held = extensions.get_extension_for_class(SubjectAlternativeName).value
        except (CertificateError, ExtensionNotFound):
            return False
        return list(held) == _general(names) and certificate.expires - now > RENEWED_BEFORE_END

    def _authority(self, now: datetime) -> tuple[Certificate, EllipticCurvePrivateKey] | None:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

        try:
            found = load_pem_x509_certificate(self.authority.read_bytes())
            key = load_pem_private_key(self._authority_key.read_bytes(), password=None)
        except (OSError, ValueError):
            return None
        usable = found.not_valid_after_utc - now > SERVER_LIFE and key.public_key() == found.public_key()
        return (found, key) if usable and isinstance(key, EllipticCurvePrivateKey) else None

    def _make_authority(self, now: datetime) -> tuple[Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("Penstock development authority")
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            _builder(name, name, key, now, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        _write(self._authority_key, _pem_key(key))
        _write(self.authority, _pem(made))
        return made, key

    def _make_server(
        self, authority: Certificate, signer: EllipticCurvePrivateKey, names: Sequence[str], now: datetime
    ) -> None:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            _builder(_named(names[0]), authority.subject, key, now, SERVER_LIFE)
            .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, SHA256())
        )
        _write(self.key, _pem_key(key))
        _write(self.chain, _pem(made))


def _builder(
    subject: Name, issuer: Name, key: EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415

    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BACKDATED,
        not_valid_after=now + life,
    )


def _named(common_name: str) -> Name:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general(names: Sequence[str]) -> list[GeneralName]:
    from cryptography import x509  # noqa: PLC0415

    found: list[GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name.strip("[]"))))
        except ValueError:
            # A name that no certificate can hold (an empty label, say) is no name that clients can ask for either.
            with contextlib.suppress(UnicodeError):
                found.append(x509.DNSName(name.encode("idna").decode()))
    return found


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
