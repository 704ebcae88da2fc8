"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


class Papers:
    """One authority's, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key, timedelta(0), 10 * DAY).add_extension(basic, critical=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def pem(self, name: str, *, calls: bool = False, age: timedelta = timedelta(0)) -> bytes:
        """A certificate, made ``age`` ago for a day, and its key; for answering, unless it ``calls``."""
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.CLIENT_AUTH if calls else ExtendedKeyUsageOID.SERVER_AUTH
        made = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, age, DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .sign(self._key, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.public_bytes(Encoding.PEM) + private

    def file(self, name: str, *, calls: bool = False, age: timedelta = timedelta(0), to: str = "") -> Path:
        """As :meth:`pem`, in a file, replaced whole."""
        path = self.folder / (to or f"{name}.pem")
        path.with_suffix(".new").write_bytes(self.pem(name, calls=calls, age=age))
        return path.with_suffix(".new").replace(path)

    def client(self, file: Path | None, trust: Papers | None = None) -> ssl.SSLContext:
        """A caller that shows ``file``."""
        context = ssl.create_default_context(cafile=str((trust or self).ca))
        if file is not None:
            context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, age: timedelta, life: timedelta
    ) -> x509.CertificateBuilder:
        made = datetime.now(UTC) - age
        return x509.CertificateBuilder(
            issuer_name=self._name, subject_name=subject, public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=made - timedelta(hours=1),
            not_valid_after=made + life,
        )  # fmt: skip


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path / "papers")


@pytest.fixture
def foreign(tmp_path: Path) -> Papers:
    """Another authority's."""
    return Papers(tmp_path / "foreign")
