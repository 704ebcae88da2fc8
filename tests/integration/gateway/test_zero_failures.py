"""50,000 requests for every kind of change, with requests of 1.5 s in flight all the time: none may fail."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from gateway.routes import EndpointAuth, EndpointRoute, HostHealth
from tests.integration.gateway.kept_rig import KeptRig
from tests.integration.gateway.rig import AUTH, KEY, digest, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

REQUESTS = 50_000
Step = Callable[[KeptRig, int], Awaitable[None]]


def route(rig: KeptRig, *deployments: str, **weights: int) -> EndpointRoute:
    return rig.endpoint(*(rig.deployment(name, f"{name}1", f"{name}2") for name in deployments), **weights)


async def weights(rig: KeptRig, number: int) -> None:
    share = number * 37 % 101
    await rig.router.apply(route(rig, "blue", "green", blue=share, green=100 - share))


async def add_and_remove(rig: KeptRig, number: int) -> None:
    if number % 2:
        await rig.router.apply(route(rig, "blue", "green", green=100))
    else:
        await rig.router.apply(route(rig, "blue", blue=100))


async def scale(rig: KeptRig, number: int) -> None:
    hosts = [f"blue{n}" for n in range(1, 2 + number % 4)]
    await rig.router.apply(rig.endpoint(rig.deployment("blue", *hosts), blue=100))


async def drain(rig: KeptRig, number: int) -> None:
    both = rig.deployment("blue", "blue1", "blue2")
    leaving = replace(both.hosts[number % 2], health=HostHealth.DRAINING)
    staying = both.hosts[1 - number % 2]
    await rig.router.apply(rig.endpoint(replace(both, hosts=(staying, leaving)), blue=100))
    await rig.router.apply(rig.endpoint(replace(both, hosts=(staying,)), blue=100))


async def other_key(rig: KeptRig, number: int) -> None:
    auth = EndpointAuth(key_digests=(("primary", digest(KEY)), ("secondary", digest(f"other-{number:026d}"))))
    await rig.router.apply(replace(route(rig, "blue", blue=100), auth=auth))


async def control_plane(rig: KeptRig, number: int) -> None:
    wanted = route(rig, "blue", "green", **{("blue", "green")[number % 2]: 100})
    await rig.restart_control_plane(wanted)
    await until(lambda: rig.router.status().connected > 0, 10)
    await rig.router.apply(wanted)
    await asyncio.sleep(0.3)


async def hot_restart(rig: KeptRig, _number: int) -> None:
    await rig.process.restart()
    await until(lambda: one_left(rig), 60)


async def one_left(rig: KeptRig) -> bool:
    return len(rig.process._epochs.running()) == 1


@pytest.fixture
async def rig() -> AsyncIterator[KeptRig]:
    async with KeptRig() as rig:
        yield rig


@pytest.mark.parametrize("step", [weights, add_and_remove, scale, drain, other_key, control_plane, hot_restart])
async def test_none_of_fifty_thousand_fails(rig: KeptRig, step: Step) -> None:
    await rig.router.apply(replace(route(rig, "blue", blue=100), auth=AUTH))
    async with rig.under_load(connections=16) as load, rig.under_load("/endpoints/e/slow/1500", connections=8) as slow:
        for number in itertools.count(1):
            await step(rig, number)
            await asyncio.sleep(0.01)
            if load.total >= REQUESTS and slow.total >= 8:
                break
    assert (load.failures, load.broken, slow.failures, slow.broken) == (0, [], 0, [])
    assert load.statuses[200] >= REQUESTS
