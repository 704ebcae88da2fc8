"""The platform's own authority: what it signs, and what it does when its file is not what it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import (
    ExtendedKeyUsage,
    IPAddress,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_pem_x509_certificate,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from controlplane.pki import identity
from controlplane.pki.authority import AUTHORITY_LIFE, Authority, AuthorityError, Use
from controlplane.pki.issuer import Issuer, Renewing
from gateway.ads_port import CONTROL_PLANE, GATEWAY_PREFIX
from gateway.translate.names import scorer_identity

NOW = datetime(2030, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pki" / "authority.pem"


def test_it_is_made_once_and_kept(file: Path) -> None:
    first, second = Authority.open(file, NOW), Authority.open(file, NOW + 300 * DAY)
    assert first.pem == second.pem == file.with_name("ca.pem").read_bytes()
    assert {each.stat().st_mode & 0o777 for each in file.parent.iterdir()} == {0o600}
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert b"PRIVATE" not in first.pem
    # What is beside it is written when it is not that, and not otherwise: a full disk stops no start.
    beside = file.with_name("ca.pem")
    inode = beside.stat().st_ino
    Authority.open(file, NOW)
    assert beside.stat().st_ino == inode
    beside.write_bytes(b"junk")
    Authority.open(file, NOW)
    assert beside.read_bytes() == first.pem
    made = load_pem_x509_certificate(second.issue("spiffe://x", Use.CALL, NOW, DAY).chain)
    made.verify_directly_issued_by(load_pem_x509_certificate(first.pem))


@pytest.mark.parametrize(
    ("use", "usages"),
    [
        (Use.ANSWER, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (Use.CALL, [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (Use.BOTH, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
)
def test_what_it_signs(file: Path, use: Use, usages: list[object]) -> None:
    leaf = Authority.open(file, NOW).issue(identity.gateway("edge"), use, NOW, DAY, ["10.0.0.1", "here"])
    assert (leaf.renewed_from, leaf.expires) == (NOW + DAY / 2, NOW + DAY)
    made = load_pem_x509_certificate(leaf.chain)
    assert made.not_valid_after_utc == NOW + DAY
    assert made.not_valid_before_utc < NOW
    assert list(made.extensions.get_extension_for_class(ExtendedKeyUsage).value) == usages
    names = made.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert names.get_values_for_type(UniformResourceIdentifier) == ["spiffe://penstock/gateway/edge"]
    assert [str(each) for each in names.get_values_for_type(IPAddress)] == ["10.0.0.1"]
    assert "PRIVATE" not in repr(leaf)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda held, _: held[:200], "does not hold a certificate and its key in PEM"),
        (lambda held, _: b"", "does not hold a certificate and its key in PEM"),
        (lambda held, _: held[: held.index(b"-----BEGIN PRIVATE")], "does not hold a certificate and its key in PEM"),
        (lambda held, other: _cut(held)[0] + _cut(other)[1], "is not that of the certificate in it"),
    ],
)
def test_a_damaged_one_is_told_and_never_replaced(file: Path, tmp_path: Path, spoil, sentence: str) -> None:
    Authority.open(file, NOW)
    other = tmp_path / "other.pem"
    Authority.open(other, NOW)
    file.write_bytes(spoilt := spoil(file.read_bytes(), other.read_bytes()))
    with pytest.raises(AuthorityError, match=sentence) as caught:
        Authority.open(file, NOW)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == spoilt


def _cut(pem: bytes) -> tuple[bytes, bytes]:
    at = pem.index(b"-----BEGIN PRIVATE")
    return pem[:at], pem[at:]


def test_one_that_has_expired_is_told(file: Path) -> None:
    Authority.open(file, NOW)
    with pytest.raises(AuthorityError, match="expired on 2040-04-28"):
        Authority.open(file, NOW + AUTHORITY_LIFE)


def test_one_that_came_back_readable_for_others_is_private_again(file: Path) -> None:
    first = Authority.open(file, NOW)
    file.chmod(0o644)
    assert Authority.open(file, NOW).pem == first.pem
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_no_half_of_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("controlplane.pki.authority.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        Authority.open(file, NOW)
    assert not file.exists()
    monkeypatch.undo()
    assert Authority.open(file, NOW).pem


def test_certificates_are_renewed_when_half_of_their_life_has_passed(file: Path) -> None:
    clock = Clock()
    issuer = Issuer(Authority.open(file, NOW), clock, DAY)
    renewing = Renewing(issuer, identity.CONTROL_PLANE, Use.BOTH)
    first = renewing.current()
    clock.time = NOW + DAY / 2 - timedelta(seconds=1)
    assert renewing.current() is first
    assert not issuer.is_due_pem(first.pem)
    clock.time = NOW + DAY / 2
    assert issuer.is_due_pem(first.pem)
    second = renewing.current()
    assert second.chain != first.chain
    assert second.expires == NOW + DAY * 1.5
    assert renewing.current() is second


def test_what_somebody_else_signed_or_damaged_is_due_at_once(file: Path, tmp_path: Path) -> None:
    issuer = Issuer(Authority.open(file, NOW), Clock(), DAY)
    foreign = Authority.open(tmp_path / "foreign.pem", NOW).issue("spiffe://x", Use.ANSWER, NOW, DAY)
    for pem in (foreign.pem, b"", b"junk"):
        assert issuer.is_due_pem(pem)


def test_both_rooms_spell_the_names_alike() -> None:
    """The gateway may not import the control plane."""
    assert identity.CONTROL_PLANE == CONTROL_PLANE
    assert identity.gateway("edge") == GATEWAY_PREFIX + "edge"
    assert identity.scorer("e", "blue") == scorer_identity("e", "blue")
    # What every gateway shows to instances is no name that opens the control plane's door.
    assert not identity.GATEWAYS.startswith(GATEWAY_PREFIX)
