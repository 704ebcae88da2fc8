"""A certificate is read or refused in one sentence; one of our own is made when it is needed, and not before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import DNSName, SubjectAlternativeName, load_pem_x509_certificate

from gateway.certificate import CertificateError, load_certificate
from gateway.dev_certificate import SERVER_LIFE, DevCertificate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1")


def made(folder: Path) -> DevCertificate:
    files = DevCertificate(folder)
    files.ensure(NAMES, NOW)
    return files


def test_a_pair_that_fits(tmp_path: Path) -> None:
    files = made(tmp_path)
    certificate = load_certificate(files.chain, files.key, NOW)
    assert certificate.expires == NOW + SERVER_LIFE
    assert (certificate.chain, certificate.key) == (files.chain.read_bytes(), files.key.read_bytes())
    assert "PRIVATE" not in repr(certificate)


def spoil(files: DevCertificate, tmp_path: Path, how: str) -> None:
    match how:
        case "no file":
            files.chain.unlink()
        case "a folder":
            files.key.unlink()
            files.key.mkdir()
        case "no certificate":
            files.chain.write_text("hello")
        case "no key":
            files.key.write_bytes(files.chain.read_bytes())
        case "cut off":
            files.chain.write_bytes(files.chain.read_bytes()[:300])
        case "another's key":
            files.key.write_bytes(made(tmp_path / "other").key.read_bytes())
        case "a password":
            key = load_pem_private_key(files.key.read_bytes(), password=None)
            secret = BestAvailableEncryption(b"secret")
            files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
        case "huge":
            files.chain.write_bytes(b"-" * 2_000_000)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no file", "cert.pem cannot be read: No such file or directory"),
        ("a folder", "key.pem cannot be read: Is a directory"),
        ("no certificate", "cert.pem holds no certificate in PEM"),
        ("no key", "key.pem holds no private key in PEM"),
        ("cut off", "cert.pem holds no certificate in PEM"),
        ("another's key", "key.pem is not the key of the certificate in"),
        ("a password", "key.pem is protected by a password"),
        ("huge", "cert.pem is larger than 1048576 bytes"),
    ],
)
def test_files_that_make_none(tmp_path: Path, how: str, sentence: str) -> None:
    files = made(tmp_path / "files")
    content = files.key.read_bytes()
    spoil(files, tmp_path, how)
    with pytest.raises(CertificateError, match=sentence) as caught:
        load_certificate(files.chain, files.key, NOW)
    assert not [line for line in content.decode().splitlines() if line in str(caught.value)]


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        (NOW + SERVER_LIFE, "expired on 2026-08-30 00:00 UTC"),
        (NOW - timedelta(days=1), "is not valid before 2026-05-31 23:00 UTC"),
    ],
)
def test_a_certificate_has_its_time(tmp_path: Path, when: datetime, sentence: str) -> None:
    files = made(tmp_path)
    with pytest.raises(CertificateError, match=sentence):
        load_certificate(files.chain, files.key, when)


class TestForDevelopment:
    def test_it_is_kept_while_it_is_good(self, tmp_path: Path) -> None:
        files = made(tmp_path)
        before = files.chain.read_bytes()
        files.ensure(NAMES, NOW + timedelta(days=59))
        assert files.chain.read_bytes() == before

    @pytest.mark.parametrize("when", [timedelta(days=61), timedelta(days=400)])
    def test_it_is_renewed_by_the_same_authority(self, tmp_path: Path, when: timedelta) -> None:
        files = made(tmp_path)
        chain, authority = files.chain.read_bytes(), files.authority.read_bytes()
        files.ensure(NAMES, NOW + when)
        assert (files.chain.read_bytes() != chain, files.authority.read_bytes() == authority) == (True, True)
        assert load_certificate(files.chain, files.key, NOW + when).expires == NOW + when + SERVER_LIFE

    def test_other_names_are_another_certificate(self, tmp_path: Path) -> None:
        files = made(tmp_path)
        before = files.chain.read_bytes()
        files.ensure((*NAMES, "models.example.com"), NOW)
        assert files.chain.read_bytes() != before

    def test_an_authority_at_its_end_is_replaced(self, tmp_path: Path) -> None:
        files = made(tmp_path)
        before = files.authority.read_bytes()
        files.ensure(NAMES, NOW + timedelta(days=3600))
        assert files.authority.read_bytes() != before

    @pytest.mark.parametrize("file", ["cert.pem", "key.pem", "ca.pem", "ca-key.pem"])
    def test_what_is_missing_or_broken_is_made_anew(self, tmp_path: Path, file: str) -> None:
        files = made(tmp_path)
        for spoilt in (lambda path: path.unlink(), lambda path: path.write_text("broken")):
            spoilt(tmp_path / file)
            files.ensure(NAMES, NOW)
            load_certificate(files.chain, files.key, NOW)

    def test_its_files_are_for_their_owner(self, tmp_path: Path) -> None:
        files = made(tmp_path / "tls")
        assert files.folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in files.folder.iterdir()} == {0o600}


def test_names_as_certificates_spell_them(tmp_path: Path) -> None:
    files = DevCertificate(tmp_path)
    for _ in range(2):
        files.ensure(("bücher.example", "a..b", "x_y", "::1"), NOW)
        first = load_pem_x509_certificate(files.chain.read_bytes())
    held = first.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert held.get_values_for_type(DNSName) == ["xn--bcher-kva.example", "x_y"]
    assert load_pem_x509_certificate(files.chain.read_bytes()) == first


def test_a_certificate_of_somebody_elses_without_names_is_replaced(tmp_path: Path) -> None:
    """The authority's own, put where the server's should be: it is valid, and names nobody."""
    files = DevCertificate(tmp_path)
    files.ensure(("localhost",), NOW)
    files.chain.write_bytes(files.authority.read_bytes())
    files.key.write_bytes((tmp_path / "ca-key.pem").read_bytes())
    files.ensure(("localhost",), NOW)
    held = load_pem_x509_certificate(files.chain.read_bytes())
    assert held.extensions.get_extension_for_class(SubjectAlternativeName).value
