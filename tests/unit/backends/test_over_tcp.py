"""Ports and certificates of instances."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.backends.process import probes
from controlplane.backends.process.command import command
from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.backends.process.over_tcp import InstanceTls, unreachable
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.ports import PreparationError
from controlplane.domain.specs import ProbeSettings
from controlplane.pki.authority import Authority
from controlplane.pki.issuer import Issuer

NOW = datetime(2030, 5, 1, tzinfo=UTC)
MANIFEST = Manifest(
    "abc", "house", "hash", "/run/abc.sock", ProbeSettings(), ProbeSettings(), "/run/abc.grpc", "blue",
    "127.0.0.1:20000", "127.0.0.1:20001",
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tls(tmp_path: Path, clock: Clock) -> InstanceTls:
    issuer = Issuer(Authority.open(tmp_path / "authority.pem", NOW), clock, timedelta(days=2))
    return InstanceTls(issuer, "127.0.0.1", range(20000, 20004), random.Random(1))


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    (tmp_path / "abc").mkdir()
    return InstanceFiles(tmp_path / "abc")


def test_ports_are_of_the_range_and_no_two_alike(tls: InstanceTls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_is_free", lambda port: port != 20002)
    assert set(tls.addresses((), 3)) == {"127.0.0.1:20000", "127.0.0.1:20001", "127.0.0.1:20003"}
    assert tls.addresses({"127.0.0.1:20000", "127.0.0.1:20001"}, 1) == ("127.0.0.1:20003",)
    with pytest.raises(PreparationError, match=r"no port of 20000-20003 on 127.0.0.1 is free") as caught:
        tls.addresses({"127.0.0.1:20000"}, 3)
    assert caught.value.transient


def test_a_port_that_somebody_listens_at_is_not_free(tmp_path: Path, tls: InstanceTls) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert not tls._is_free(port)


def test_a_certificate_is_renewed_in_time_and_replaced_whole(
    tls: InstanceTls, files: InstanceFiles, clock: Clock
) -> None:
    tls.equip(files, MANIFEST)
    first = files.certificate.read_bytes()
    assert first.count(b"-----BEGIN") == 2
    assert files.certificate.stat().st_mode & 0o777 == 0o600
    assert not tls.renew(files, MANIFEST)
    clock.time += timedelta(days=1)
    assert tls.renew(files, MANIFEST)
    assert files.certificate.read_bytes() != first
    assert not tls.renew(files, MANIFEST)
    files.certificate.unlink()
    assert tls.renew(files, MANIFEST)
    assert {each.name for each in files.folder.iterdir()} == {"tls.pem", "ca.pem"}


async def test_a_control_plane_that_comes_back_renews_at_once(
    tls: InstanceTls, files: InstanceFiles, clock: Clock
) -> None:
    tls.equip(files, MANIFEST)
    expired = files.certificate.read_bytes()
    clock.time += timedelta(days=3)
    keeping = asyncio.create_task(tls.keep(lambda: [(files, MANIFEST)]))
    async with asyncio.timeout(10):  # and not after the first of its pauses, of a minute
        while files.certificate.read_bytes() == expired:
            await asyncio.sleep(0.01)
    keeping.cancel()


def test_a_full_disk_makes_no_instance_look_dead(tls: InstanceTls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert tls._client() is tls._client()


def test_one_at_a_socket_gets_none(tls: InstanceTls, files: InstanceFiles) -> None:
    assert not tls.renew(files, replace(MANIFEST, address="", grpc_address=""))
    assert list(files.folder.iterdir()) == []


def test_where_it_listens(files: InstanceFiles) -> None:
    template = InstanceTemplate("house", "blue")
    argv = command(Path("/venv/bin/python"), files, MANIFEST, template)
    shown = str(files.folder / "tls.pem")
    assert argv[3:] == [
        "--host", "127.0.0.1", "--port", "20000", "--grpc_port", "20001", "--tls_cert", shown, "--tls_key", shown,
        "--tls_client_ca", str(files.folder / "ca.pem"),
    ]  # fmt: skip
    assert (MANIFEST.uri, MANIFEST.grpc_uris()) == ("tls://127.0.0.1:20000", ("tls://127.0.0.1:20001",))
    without = replace(MANIFEST, address="[::1]:20000", grpc_address="")
    assert command(Path("/venv/bin/python"), files, without, template)[3:7] == ["--host", "::1", "--port", "20000"]
    assert without.grpc_uris() == ()


async def test_without_an_authority_it_cannot_be_asked() -> None:
    assert not await probes.answers(unreachable(MANIFEST), 1)
