"""`penstock gateway renew`: what the control plane answers is looked at before it replaces anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from controlplane.pki import identity
from controlplane.pki.authority import Authority, Use
from gateway import enrolment
from gateway.settings import GatewaySettings
from penstock.cli import renewal
from penstock.errors import PlatformError

UNUSED = Path("unused")
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "pki" / "authority.pem", datetime.now(UTC))


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    """What `penstock gateway enroll` wrote."""
    settings = enrolment.settings_of(GatewaySettings(UNUSED, UNUSED, UNUSED, UNUSED), "edge", "127.0.0.1", 8080, 8443)
    folder = tmp_path / "edge"
    folder.mkdir()
    for name, content in enrolment.files(settings, "::1", 18000).items():
        (folder / name).write_text(content)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "identity.pem").write_bytes(_pem(authority))
    return folder


def _pem(authority: Authority, age: timedelta = timedelta(0)) -> bytes:
    return authority.issue(identity.gateway("edge/a1"), Use.CALL, datetime.now(UTC) - age, DAY).pem


class Channel:
    """A control plane that answers ``said``, or raises it."""

    def __init__(self, said: bytes | Exception) -> None:
        self.said = said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def unary_unary(self, _method: str) -> Any:
        def call(_: bytes, timeout: float) -> bytes:
            if isinstance(self.said, Exception):
                raise self.said
            return self.said

        return call


def renewed(folder: Path, said: bytes | Exception, monkeypatch: pytest.MonkeyPatch) -> datetime:
    monkeypatch.setattr(grpc, "secure_channel", lambda *_: Channel(said))
    return renewal._renewed(folder, renewal._read(folder))


def test_the_next_one_replaces_the_present_one(
    folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert renewal._read(folder).address == "[::1]:18000"
    following = _pem(authority, -DAY)
    assert renewed(folder, following, monkeypatch) > datetime.now(UTC) + DAY
    assert (folder / "identity.pem").read_bytes() == following


@pytest.mark.parametrize("said", [b"", b"junk", "without its key"])
def test_what_is_none_replaces_nothing(
    folder: Path, authority: Authority, said: bytes | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "identity.pem").read_bytes()
    answer = said if isinstance(said, bytes) else before[: before.index(b"-----BEGIN PRIVATE")]
    with pytest.raises(PlatformError, match="is damaged"):
        renewed(folder, answer, monkeypatch)
    assert (folder / "identity.pem").read_bytes() == before


def test_a_full_disk_leaves_the_present_one(
    folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "identity.pem").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("penstock.cli.renewal.os.fsync", full)
    with pytest.raises(PlatformError, match="cannot be written: No space left"):
        renewed(folder, _pem(authority), monkeypatch)
    assert (folder / "identity.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("identity.pem", None, "identity.pem cannot be read: No such file"),
        ("identity.pem", "junk", "identity.pem is damaged"),
        ("bootstrap.json", "junk", "is not what `penstock gateway enroll` wrote"),
        ("bootstrap.json", "[]", "is not what `penstock gateway enroll` wrote"),
        ("bootstrap.json", json.dumps({"static_resources": {"clusters": []}}), "is not what"),
        ("ca.pem", None, "ca.pem cannot be read"),
    ],
)
def test_a_folder_that_is_not_whole(folder: Path, file: str, content: str | None, sentence: str) -> None:
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(PlatformError, match=sentence) as caught:
        renewal._read(folder)
    assert "\n" not in str(caught.value)


def test_one_that_has_expired_says_what_helps(
    folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "identity.pem").write_bytes(_pem(authority, 2 * DAY))
    with pytest.raises(PlatformError, match="expired on") as caught:
        renewed(folder, b"", monkeypatch)
    assert "enroll" in caught.value.hint
