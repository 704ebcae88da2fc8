"""50,000 requests for every kind of change, with requests of 1.5 s in flight all the time: none may fail."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from gateway.certificate import Certificate
from gateway.dev_certificate import DevCertificate
from gateway.routes import EndpointAuth, EndpointRoute, HostHealth
from tests.integration.gateway.kept_rig import KeptRig
from tests.integration.gateway.rig import AUTH, BEARER, KEY, digest, until
from tests.integration.gateway.test_tls import address, made, trusting
from tests.support.ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

REQUESTS = 50_000
CERTIFICATES = 4
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
    await rig.restart_control_plane(wanted, certificate=one_of(rig, 0)[1] if rig.settings.tls_port else None)
    await until(lambda: rig.router.status().connected > 0, 10)
    await rig.router.apply(wanted)
    await asyncio.sleep(0.3)


async def hot_restart(rig: KeptRig, _number: int) -> None:
    await rig.process.restart()
    await until(lambda: one_left(rig), 60)


async def certificate(rig: KeptRig, number: int) -> None:
    files, newer = one_of(rig, number)
    await rig.router.set_certificate(newer)
    async with httpx.AsyncClient(verify=trusting(files)) as client:  # a connection of its own, which trusts no other
        assert (await client.get(address(rig), headers=BEARER)).status_code == 200


def one_of(rig: KeptRig, number: int) -> tuple[DevCertificate, Certificate]:
    """One of a few, each with an authority of its own."""
    return made(rig.folder / "tls" / str(number % CERTIFICATES))


async def one_left(rig: KeptRig) -> bool:
    return len(rig.process._epochs.running()) == 1


PLAIN: list[Step] = [weights, add_and_remove, scale, drain, other_key, control_plane, hot_restart]
TLS: list[Step] = [certificate, control_plane, hot_restart]


@pytest.mark.parametrize("step", PLAIN)
async def test_none_of_fifty_thousand_fails(step: Step) -> None:
    async with KeptRig() as rig:
        await none_fails(rig, step)


@pytest.mark.parametrize("step", TLS)
async def test_none_of_fifty_thousand_fails_over_tls(step: Step) -> None:
    rig = KeptRig(tls_port=free_port())
    await rig.router.set_certificate(one_of(rig, 0)[1])
    async with rig:
        await none_fails(rig, step, trusting(*(one_of(rig, number)[0] for number in range(CERTIFICATES))))


async def none_fails(rig: KeptRig, step: Step, tls: ssl.SSLContext | None = None) -> None:
    await rig.router.apply(replace(route(rig, "blue", blue=100), auth=AUTH))
    async with (
        rig.under_load(connections=16, tls=tls) as load,
        rig.under_load("/endpoints/e/slow/1500", connections=8, tls=tls) as slow,
    ):
        for number in itertools.count(1):
            await step(rig, number)
            await asyncio.sleep(0.01)
            if load.total >= REQUESTS and slow.total >= 8:
                break
    assert (load.failures, load.broken, slow.failures, slow.broken) == (0, [], 0, [])
    assert load.statuses[200] >= REQUESTS
