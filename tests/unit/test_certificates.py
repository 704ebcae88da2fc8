"""The certificate's files may change at any time: what is good is shown, what is not is told once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controlplane.certificates import GatewayCertificate
from gateway.certificate import Certificate, CertificateError
from gateway.dev_certificate import SERVER_LIFE, DevCertificate
from gateway.routes import Refusal, RouteRefusedError

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class World:
    """The files in use, and what clients were shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = DevCertificate(folder / "used")
        self.files.ensure(("localhost",), NOW)
        self.clock = Clock()
        self.shown: list[Certificate] = []
        self.refuse = False
        self.watched = GatewayCertificate(self.files.chain, self.files.key, self.show, self.clock)

    async def show(self, certificate: Certificate) -> None:
        if self.refuse:
            raise RouteRefusedError("", Refusal.TIMEOUT, "no answer")
        self.shown.append(certificate)

    def other(self, name: str = "other") -> DevCertificate:
        files = DevCertificate(self.folder / name)
        files.ensure(("localhost",), NOW)
        return files

    async def looks(self, times: int = 3) -> list[str]:
        with capture_logs() as logs:
            for _ in range(times):
                await self.watched.look()
        return [f"{log['event']}: {log['reason']}" for log in logs if log["log_level"] == "warning"]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.watched.load()
    return world


async def test_new_files_are_shown_once(world: World) -> None:
    other = world.other()
    world.files.chain.write_bytes(other.chain.read_bytes())
    world.files.key.write_bytes(other.key.read_bytes())
    assert await world.looks() == []
    assert [certificate.key for certificate in world.shown[1:]] == [other.key.read_bytes()]


async def test_a_pair_that_is_replaced_file_by_file_is_nothing_to_tell(world: World) -> None:
    other = world.other()
    world.files.chain.write_bytes(other.chain.read_bytes())
    assert await world.looks(1) == []
    world.files.key.write_bytes(other.key.read_bytes())
    assert await world.looks() == []
    assert len(world.shown) == 2


async def test_what_cannot_be_used_is_told_once_and_changes_nothing(world: World) -> None:
    world.files.chain.write_text("broken")
    (told,) = await world.looks(5)
    assert told.startswith("the new certificate cannot be used, the present one stays: ")
    assert told.endswith("cert.pem holds no certificate in PEM")
    world.files.chain.unlink()
    (told,) = await world.looks(5)
    assert "cannot be read" in told
    assert len(world.shown) == 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing", "cert.pem cannot be read: No such file or directory."),
        ("unreadable", "cert.pem cannot be read: Is a directory."),
        ("mismatched", "is not the key of the certificate in"),
        ("expired", "expired on 2026-02-11 00:00 UTC."),
        ("another key alone", "is not the key of the certificate in"),
    ],
)
async def test_what_is_wrong_is_said_until_it_is_right(world: World, how: str, sentence: str) -> None:
    chain, key = world.files.chain.read_bytes(), world.files.key.read_bytes()
    assert world.watched.problem == ""
    match how:
        case "missing":
            world.files.chain.unlink()
        case "unreadable":
            world.files.chain.unlink()
            world.files.chain.mkdir()
        case "mismatched":
            world.files.chain.write_bytes(world.other().chain.read_bytes())
        case "expired":
            old = DevCertificate(world.folder / "old")
            old.ensure(("localhost",), NOW - timedelta(days=200))
            world.files.chain.write_bytes(old.chain.read_bytes())
            world.files.key.write_bytes(old.key.read_bytes())
        case _:
            world.files.key.write_bytes(world.other().key.read_bytes())
    await world.looks(1)
    assert world.watched.problem == ""  # half of a new pair, perhaps
    await world.looks(3)
    assert world.watched.problem.startswith("The new certificate cannot be used, the present one stays: ")
    assert sentence in world.watched.problem
    if how == "unreadable":
        world.files.chain.rmdir()
    world.files.chain.write_bytes(chain)
    world.files.key.write_bytes(key)
    await world.looks(1)
    assert world.watched.problem == ""


async def test_what_a_gateway_refuses_is_said_until_it_takes_it(world: World) -> None:
    world.files.chain.write_bytes(world.other().chain.read_bytes())
    world.files.key.write_bytes(world.other().key.read_bytes())
    world.refuse = True
    await world.watched.look_again()
    assert world.watched.problem == "The gateways do not show the new certificate yet: no answer"
    world.refuse = False
    await world.watched.look_again()
    assert world.watched.problem == ""


async def test_a_certificate_of_our_own_that_cannot_be_renewed(tmp_path: Path) -> None:
    world = World(tmp_path)
    full = [False]

    def renew(_now: datetime) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")

    watched = GatewayCertificate(world.files.chain, world.files.key, world.show, world.clock, renew=renew)
    await watched.load()
    full[0] = True
    world.clock.time += timedelta(days=1)
    await watched.look_again()
    assert watched.problem == "The development certificate cannot be renewed: [Errno 28] No space left on device."
    full[0] = False
    await watched.look_again()
    assert watched.problem == ""


async def test_a_gateway_that_does_not_take_it_is_asked_again(world: World) -> None:
    other = world.other()
    world.files.chain.write_bytes(other.chain.read_bytes())
    world.files.key.write_bytes(other.key.read_bytes())
    world.refuse = True
    with pytest.raises(RouteRefusedError):
        await world.watched.look()
    world.refuse = False
    await world.watched.look()
    assert len(world.shown) == 2


async def test_an_end_that_is_near_is_told_daily(world: World) -> None:
    world.clock.time = NOW + SERVER_LIFE - timedelta(days=3)
    for _ in range(4):
        with capture_logs() as logs:
            await world.watched.look()
            await world.watched.look()
        assert [log["event"] for log in logs] == ["the certificate must be replaced"]
        verb = "expires" if world.clock.time < NOW + SERVER_LIFE else "expired"
        assert world.watched.problem == (
            f"The certificate that clients are shown {verb} on 2026-08-30 00:00 UTC: replace its files."
        )
        world.clock.time += timedelta(days=1)
    assert verb == "expired"


async def test_a_start_with_unusable_files_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.files.key.unlink()
    with pytest.raises(CertificateError, match="cannot be read"):
        await world.watched.load()
    assert world.shown == []


async def test_our_own_is_renewed_in_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    watched = GatewayCertificate(
        world.files.chain,
        world.files.key,
        world.show,
        world.clock,
        renew=lambda now: world.files.ensure(("localhost",), now),
    )
    await watched.load()
    world.clock.time += timedelta(days=70)
    await watched.look()
    assert [certificate.expires for certificate in world.shown] == [NOW + SERVER_LIFE, world.clock.time + SERVER_LIFE]
