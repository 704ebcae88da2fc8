"""A certificate authority of the platform's own: one key, which never leaves the home, and what it signs.

ECDSA on P-256. What a certificate may be used for is in it, and checked by whoever is shown it: an instance's is good
for answering and never for calling, so the user's code, which can read it, opens nothing with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.private_file import write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, KeyUsage, Name

AUTHORITY_LIFE = timedelta(days=3650)
_BACKDATED = timedelta(hours=1)
"""For machines whose clocks are behind."""
_OTHERS = 0o077


class AuthorityError(Exception):
    """The authority cannot be used. The message names the file and never its content."""

    reason = "AuthorityInvalid"
    hint = (
        "Bring the folder pki back from a backup of the home; or remove it, restart, and enroll the gateways of other "
        "machines again."
    )


class Use(Enum):
    """What a certificate is good for."""

    ANSWER = "answer"
    CALL = "call"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate with its key, both PEM."""

    identity: str
    chain: bytes
    key: bytes = field(repr=False)
    renewed_from: datetime
    """From this moment on it is to be replaced by a newer one."""
    expires: datetime

    @property
    def pem(self) -> bytes:
        """Both in one, so that a file that holds them is replaced at once."""
        return self.chain + self.key


class Authority:
    """Signs for one home. :meth:`open` it."""

    def __init__(self, certificate: Certificate, key: EllipticCurvePrivateKey) -> None:
        self._certificate, self._key = certificate, key
        self.pem: bytes = _pem(certificate)
        """What those trust who trust the platform."""
        self.expires: datetime = certificate.not_valid_after_utc

    @classmethod
    def open(cls, file: Path, now: datetime) -> Authority:
        """The authority in ``file`` (mode 0600); made if there is none. Its certificate lies beside, as ``ca.pem``.

        Raises:
            AuthorityError: what is there is damaged or has expired. It is never replaced unasked: what it has signed
                would be worth nothing.
            OSError: the folder cannot be written.
        """
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            held = file.read_bytes()
        except FileNotFoundError:
            authority, held = cls._made(now)
            write_private(file, held)
        else:
            authority = cls._read(file, held, now)
            if file.stat().st_mode & _OTHERS:  # as a backup may bring it back
                file.chmod(0o600)
        beside = file.with_name("ca.pem")
        # Not each time: whoever enrolls a gateway opens the authority beside a platform that starts.
        if not beside.exists() or beside.read_bytes() != authority.pem:
            write_private(beside, authority.pem)
        return authority

    def issue(self, identity: str, use: Use, now: datetime, life: timedelta, hosts: Sequence[str] = ()) -> Leaf:
        """A new key with a certificate of ``identity``, to be replaced when half of ``life`` has passed.

        ``hosts`` are addresses and names by which it is reached, for those who check these.
        """
        from cryptography import x509  # noqa: PLC0415  # 0.1 s, for platforms with mutual TLS alone
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.x509.oid import ExtendedKeyUsageOID as Usage  # noqa: PLC0415

        usages = {
            Use.ANSWER: [Usage.SERVER_AUTH],
            Use.CALL: [Usage.CLIENT_AUTH],
            Use.BOTH: [Usage.SERVER_AUTH, Usage.CLIENT_AUTH],
        }
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(identity), *map(_general, hosts)]
        made = (
            _builder(_named(identity), self._certificate.subject, key, now, life)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages[use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, SHA256())
        )
        return Leaf(identity, _pem(made), _pem_key(key), now + life / 2, now + life)

    def renewed_from(self, pem: bytes) -> datetime:
        """From when on this certificate is to be replaced; long ago, if it is none of ours."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # as above
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

        try:
            leaf = load_pem_x509_certificate(pem)
            leaf.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return datetime.min.replace(tzinfo=UTC)
        begun = leaf.not_valid_before_utc + _BACKDATED
        return begun + (leaf.not_valid_after_utc - begun) / 2

    @classmethod
    def _made(cls, now: datetime) -> tuple[Authority, bytes]:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        key = ec.generate_private_key(ec.SECP256R1())
        # Two platforms' authorities must not look alike to whoever reads an error.
        name = _named(f"Penstock {os.urandom(4).hex()}")
        certificate = (
            _builder(name, name, key, now, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate, key), _pem(certificate) + _pem_key(key)

    @classmethod
    def _read(cls, file: Path, held: bytes, now: datetime) -> Authority:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

        try:
            certificate = load_pem_x509_certificate(held)
            key = load_pem_private_key(held[held.index(b"-----BEGIN PRIVATE KEY") :], password=None)
        except ValueError:
            raise AuthorityError(f"{file} does not hold a certificate and its key in PEM") from None
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(f"the key in {file} is not that of the certificate in it")
        if now >= certificate.not_valid_after_utc:
            raise AuthorityError(f"the authority in {file} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
        return cls(certificate, key)


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


def _key_usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _named(common_name: str) -> Name:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[-64:])])


def _general(host: str) -> GeneralName:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
