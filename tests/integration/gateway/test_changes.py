"""Nothing a user changes, and nothing that breaks behind the gateway, costs a request. Real Envoy, steady load."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from gateway.routes import HostHealth, Refusal, RouteRefusedError
from tests.integration.gateway.load import Load
from tests.integration.gateway.rig import BEARER, Rig, until

pytestmark = pytest.mark.integration


def unharmed(load: Load, at_least: int = 100) -> None:
    assert (load.failures, load.broken) == (0, []), load.statuses
    assert load.total >= at_least


async def test_fifty_weight_changes(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, green, blue=100))
    async with rig.under_load() as load:
        for step in range(50):
            percent = (step * 37) % 101
            await rig.router.apply(rig.endpoint(blue, green, blue=100 - percent, green=percent))
            await asyncio.sleep(0.03)
    unharmed(load)
    assert set(load.deployments) == {"blue", "green"}


async def test_a_change_holds_once_apply_has_returned(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    for _ in range(50):
        for deployment in ("blue", "green"):
            await rig.router.apply(rig.endpoint(blue, green, **{deployment: 100}))
            await rig.arrived()
            response = await rig.get("/endpoints/e/score")
            assert response.headers["azureml-model-deployment"] == deployment


async def test_apply_does_not_return_before_the_gateway_has_it(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, green, blue=100))
    os.kill(rig.envoy_pid, signal.SIGSTOP)
    change = asyncio.create_task(rig.router.apply(rig.endpoint(blue, green, green=100)))
    done, _ = await asyncio.wait([change], timeout=0.5)
    os.kill(rig.envoy_pid, signal.SIGCONT)
    assert not done
    await change
    await rig.arrived()
    assert (await rig.get("/endpoints/e/score")).headers["azureml-model-deployment"] == "green"


async def test_a_deployment_comes_takes_over_and_its_predecessor_goes(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, blue=100))
    async with rig.under_load() as load:
        for _ in range(10):
            await rig.router.apply(rig.endpoint(blue, green, blue=50, green=50))
            await rig.router.apply(rig.endpoint(green, green=100))
            await rig.router.apply(rig.endpoint(blue, blue=100))
            await asyncio.sleep(0.02)
    unharmed(load)
    assert set(load.deployments) == {"blue", "green"}


async def test_scaling_draining_and_tuning(rig: Rig) -> None:
    one, two = rig.deployment("blue", "b1"), rig.deployment("blue", "b1", "b2")
    leaving = replace(two, hosts=(two.hosts[0], replace(two.hosts[1], health=HostHealth.DRAINING)))
    await rig.router.apply(rig.endpoint(one, blue=100))
    async with rig.under_load() as load:
        for _ in range(10):
            await rig.router.apply(rig.endpoint(two, blue=100))
            await asyncio.sleep(0.02)
            await rig.router.apply(rig.endpoint(leaving, blue=100))
            await rig.router.apply(rig.endpoint(one, blue=100))
    unharmed(load)


async def test_a_draining_host_gets_nothing_new(rig: Rig) -> None:
    two = rig.deployment("blue", "b1", "b2")
    leaving = replace(two, hosts=(two.hosts[0], replace(two.hosts[1], health=HostHealth.DRAINING)))
    await rig.router.apply(rig.endpoint(leaving, blue=100))
    assert {(await rig.get("/endpoints/e/score")).json()["instance"] for _ in range(20)} == {"b1"}


async def test_requests_in_flight_outlive_their_deployment(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, blue=100))
    slow = [asyncio.create_task(rig.get("/endpoints/e/slow/1500")) for _ in range(10)]
    await until(lambda: in_flight(rig, 10))
    await rig.router.apply(rig.endpoint(green, green=100))
    assert (await rig.get("/endpoints/e/score")).json()["instance"] == "g1"
    assert [(await task).json()["instance"] for task in slow] == ["b1"] * 10


async def in_flight(rig: Rig, count: int) -> bool:
    return await rig.admin.active_requests() == count


async def test_an_instance_killed_under_load(rig: Rig) -> None:
    """``kill -9`` of one of two, requests in flight included; the control plane needs a moment to notice."""
    both = rig.deployment("blue", "b1", "b2")
    await rig.router.apply(rig.endpoint(both, blue=100))
    async with rig.under_load("/endpoints/e/slow/5", connections=16) as load:
        await asyncio.sleep(0.3)
        rig.kill("b2")
        await asyncio.sleep(0.5)
        await rig.router.apply(rig.endpoint(replace(both, hosts=both.hosts[:1]), blue=100))
        await asyncio.sleep(0.2)
    unharmed(load)


async def test_the_only_instance_killed_is_an_error_that_says_so(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    rig.kill("b1")
    response = await rig.get("/endpoints/e/score")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "InstanceFailed")


async def test_a_new_control_plane_takes_over(rig: Rig) -> None:
    """Envoy serves on while nobody is there, and is sent next to nothing when somebody is again."""
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    route = rig.endpoint(blue, green, blue=90, green=10)
    await rig.router.apply(route)
    async with rig.under_load() as load:
        for _ in range(3):
            await rig.restart_control_plane(route)
            await until(lambda: rig.router.status().connected == 1, 5)
            await rig.router.apply(route)
        await rig.router.stop()
        await asyncio.sleep(0.5)
        await rig.restart_control_plane(route)
        await until(lambda: rig.router.status().connected == 1, 5)
        await rig.router.apply(replace(route, weights=(("green", 100),)))
    unharmed(load)
    # The cluster of a listener, or of an endpoint, that is sent again would count as an update.
    assert await rig.admin.stat("cluster_manager.cluster_modified") == 0
    assert await rig.admin.stat("listener_manager.listener_modified") == 0
    assert (await rig.get("/endpoints/e/score")).json()["instance"] == "g1"


async def test_changes_made_while_envoy_was_away_are_made_before_break_too(rig: Rig) -> None:
    blue, green = rig.deployment("blue", "b1"), rig.deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, blue=100))
    async with rig.under_load() as load:
        await rig.restart_control_plane(rig.endpoint(green, green=100))
        await until(lambda: rig.router.status().connected == 1, 5)
        await rig.router.apply(rig.endpoint(green, green=100))
    unharmed(load)
    assert load.deployments["green"] > 0


async def test_a_cold_envoy_has_everything_once_it_is_ready(rig: Rig) -> None:
    blue = rig.deployment("blue", "b1")
    routes = [rig.endpoint(blue, name=f"e{n}", blue=100) for n in range(200)]
    await rig.restart_control_plane(*routes)
    envoy = rig._envoys[-1]
    envoy.kill()
    envoy.wait()
    await rig.start_envoy()
    for n in (0, 100, 199):
        assert (await rig.get(f"/endpoints/e{n}/score")).status_code == 200


async def test_many_endpoints_at_once(rig: Rig) -> None:
    blue = rig.deployment("blue", "b1")
    await asyncio.gather(*(rig.router.apply(rig.endpoint(blue, name=f"e{n}", blue=100)) for n in range(100)))
    assert (await rig.get("/endpoints/e99/score")).status_code == 200
    await asyncio.gather(*(rig.router.remove(f"e{n}") for n in range(100)))
    assert (await rig.get("/endpoints/e99/score")).status_code == 404
    assert rig.router.status().endpoints == 0


async def test_what_envoy_refuses_is_told_and_harms_nobody(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own checks let nothing bad pass, so they are switched off; a body limit of 0 is one Envoy refuses."""
    good = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(good)
    monkeypatch.setattr("gateway.router.check_route", lambda _route: None)
    bad = replace(good, max_request_bytes=0)
    async with rig.under_load() as load:
        with pytest.raises(RouteRefusedError) as caught:
            await rig.router.apply(bad)
        assert caught.value.reason is Refusal.REJECTED
        assert "MaxRequestBytes" in str(caught.value)
        assert list(rig.router.status().rejected) == ["e"]
        with pytest.raises(RouteRefusedError):
            await rig.router.apply(replace(bad, name="new"))
        assert (await rig.get("/endpoints/new/score")).status_code == 404
        await rig.router.apply(good)
        assert rig.router.status().rejected == {"new": str(caught.value).replace("'e'", "'new'")}
        await rig.router.remove("new")
        assert rig.router.status().rejected == {}
    unharmed(load)


async def test_draining_lets_requests_finish(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    slow = asyncio.create_task(rig.client.get("/endpoints/e/slow/300", headers=BEARER))
    await until(lambda: in_flight(rig, 1))
    await rig.admin.drain()
    assert not await rig.admin.ready()
    assert (await slow).status_code == 200
    await until(lambda: in_flight(rig, 0))
    assert (await rig.admin.memory()).allocated > 0
