"""`python -m controlplane.enroll`: what goes wrong is a sentence, and lets nobody in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import SubjectAlternativeName, UniformResourceIdentifier, load_pem_x509_certificate

from controlplane.enroll import main
from controlplane.pki.authority import Authority
from controlplane.pki.enrolments import Enrolments
from controlplane.settings import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    for file in (home.authority, home.gateway_authority):
        Authority.open(file, datetime.now(UTC))
    monkeypatch.setenv("PENSTOCK_HOME", str(home.folder))
    return home


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    monkeypatch.setattr("sys.argv", ["enroll", "--output", str(folder), *more, "--", "edge"])
    return main()


def test_what_one_is_given_names_its_admission(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, tmp_path / "edge", "--control-plane", "[::1]:18000") == 0
    held = load_pem_x509_certificate((tmp_path / "edge" / "identity.pem").read_bytes())
    names = held.extensions.get_extension_for_class(SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(UniformResourceIdentifier)
    admitted = Enrolments(home.enrolments).find("edge")
    assert admitted is not None
    assert uri == f"spiffe://penstock/gateway/edge/{admitted.admission}"
    # It is signed by the authority for gateways, and trusts the other.
    held.verify_directly_issued_by(load_pem_x509_certificate(home.gateway_authority.read_bytes()))
    assert (tmp_path / "edge" / "ca.pem").read_bytes() == home.authority.with_name("ca.pem").read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"ads": "0.0.0.0:1"}', b'{"ads": "[::]:1"}'])
def test_where_the_platform_does_not_say_where_it_is(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (home.folder / "platform.json").write_bytes(content)
    assert run(monkeypatch, tmp_path / "edge") == 1
    assert "nobody knows by which address" in capsys.readouterr().err
    assert Enrolments(home.enrolments).find("edge") is None


def test_where_it_says_a_name(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.folder / "platform.json").write_text('{"ads": "here:18000"}')
    assert run(monkeypatch, tmp_path / "edge") == 0
    assert '"here"' in (tmp_path / "edge" / "bootstrap.json").read_text()


def test_what_cannot_be_written_lets_nobody_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "edge").write_text("a file where the folder is to be")
    assert run(monkeypatch, tmp_path / "edge", "--control-plane", "here:1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'edge'}: ")
    assert Enrolments(home.enrolments).find("edge") is None


def test_a_full_disk_lets_nobody_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("controlplane.pki.authority.os.fsync", full)
    assert run(monkeypatch, tmp_path / "edge", "--control-plane", "here:1") == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'edge'}: No space left on device\n"
    assert Enrolments(home.enrolments).find("edge") is None


@pytest.mark.parametrize("which", ["authority", "gateway_authority"])
def test_a_damaged_authority_is_a_sentence(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    getattr(home, which).write_text("broken")
    assert run(monkeypatch, tmp_path / "edge", "--control-plane", "here:1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not hold a certificate and its key in PEM" in line
    assert not (tmp_path / "edge").exists()
