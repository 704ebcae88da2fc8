"""What gateways show to instances stays new, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane import mutual_tls
from controlplane.mutual_tls import InstanceHostError, MutualTls
from controlplane.pki.authority import AUTHORITY_LIFE
from controlplane.settings import Settings
from gateway.certificate import Certificate
from gateway.routes import Refusal, RouteRefusedError

NOW = datetime(2030, 5, 1, tzinfo=UTC)
_sleep = asyncio.sleep


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class World:
    """One in which looking costs no time."""

    def __init__(self, folder: Path, *, ads: str = "10.0.0.5:18000", host: str = "127.0.0.1") -> None:
        self.clock = Clock()
        self.shown: list[Certificate] = []
        self.refused: RouteRefusedError | None = None
        self.looks = 0
        self.settings = Settings(ads_address=ads, instance_host=host, certificate_seconds=1000).at(folder)
        self.mutual_tls = MutualTls(self.settings, self.show, self.clock, look=self.look)

    async def show(self, certificate: Certificate, authority: bytes) -> None:
        if self.refused is not None:
            raise self.refused
        self.shown.append(certificate)

    def look(self) -> None:
        self.looks += 1

    async def looks_again(self) -> None:
        until = self.looks + 3
        while self.looks < until:
            await _sleep(0)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async def at_once(_: float) -> None:
        await _sleep(0)

    monkeypatch.setattr("controlplane.mutual_tls.asyncio.sleep", at_once)
    world = World(tmp_path)
    await world.mutual_tls.load()
    world.mutual_tls.start()
    yield world
    await world.mutual_tls.close()


async def test_it_is_renewed_when_half_of_its_life_has_passed(world: World) -> None:
    await world.looks_again()
    assert len(world.shown) == 1
    world.clock.time += timedelta(seconds=500)
    await world.looks_again()
    first, second = world.shown
    assert (first.chain != second.chain, second.expires) == (True, NOW + timedelta(seconds=1500))


async def test_an_address_that_is_away_for_a_moment_stops_no_renewal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutual_tls, "_is_ours", lambda _host: False)
    with pytest.raises(InstanceHostError, match=r"127.0.0.1 is no address of this machine"):
        await world.mutual_tls.load()
    world.clock.time += timedelta(seconds=500)
    await world.looks_again()
    assert len(world.shown) == 2


async def test_a_refusal_is_a_problem_until_it_is_over(world: World) -> None:
    assert world.mutual_tls.problem == ""
    world.clock.time += timedelta(seconds=500)
    world.refused = RouteRefusedError("", Refusal.TIMEOUT, "A gateway did not acknowledge.", "")
    await world.looks_again()
    assert "cannot be renewed: A gateway did not acknowledge" in world.mutual_tls.problem
    world.refused = None
    await world.looks_again()
    assert (world.mutual_tls.problem, len(world.shown)) == ("", 2)


async def test_the_end_of_the_authority_is_told_in_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.time = NOW + AUTHORITY_LIFE - timedelta(days=91)
    assert world.mutual_tls.problem == ""
    world.clock.time += timedelta(days=1)
    assert "expires on 2040-04-28" in world.mutual_tls.problem


async def test_gateways_that_reach_no_instance_are_a_problem(tmp_path: Path) -> None:
    assert "--instance-host" in World(tmp_path, host="").mutual_tls.problem
    assert World(tmp_path, ads="", host="").mutual_tls.problem == ""
