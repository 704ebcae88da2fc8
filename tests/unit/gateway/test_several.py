"""Several Envoys on one control plane: each is told everything, and none can hold the others up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.inspection import ResourceState
from gateway.routes import Refusal, RouteRefusedError
from tests.unit.gateway.fake_envoy import FakeEnvoy
from tests.unit.gateway.test_router import BOTH, ROUTE, SETTINGS, World, running

QUICK = replace(SETTINGS, ack_timeout_s=0.01)


async def test_one_that_hangs_costs_one_timeout_and_catches_up() -> None:
    world = World(QUICK)
    good, stuck = world.connect("good"), world.connect("stuck")
    world.envoys = [good]
    await world.run(world.router.apply(ROUTE))
    assert set(good.routes()) == {"e"}
    assert {view.node_id: view.late for view in world.router.gateways()} == {"good": False, "stuck": True}
    world.router._settings = SETTINGS  # from here on a wait for the stuck one would last a minute
    await world.run(world.router.apply(BOTH))
    assert stuck.routes() == {}
    stuck.settle()
    assert stuck.routes() == good.routes()
    assert stuck.violations == []
    assert [view.late for view in world.router.gateways()] == [False, False]
    async with running(world.router.apply(ROUTE)) as task:  # and is waited for again
        for _ in range(20):
            good.settle()
        assert not task.done()


async def test_when_none_answers_the_caller_is_told_each_time() -> None:
    world = World(QUICK)
    world.connect("one")
    world.connect("two")
    world.envoys = []
    for _ in range(2):
        with pytest.raises(RouteRefusedError) as caught:
            await world.run(world.router.apply(ROUTE))
        assert caught.value.reason is Refusal.TIMEOUT


async def test_one_that_dies_is_not_waited_for() -> None:
    world = World()
    good, dying = world.connect("good"), world.connect("dying")
    world.envoys = [good]
    async with running(world.router.apply(ROUTE)) as task:
        for _ in range(20):
            good.settle()
        dying.disconnect()
        await world.run(task)  # type: ignore[arg-type]
    assert [view.node_id for view in world.router.gateways()] == ["good"]


async def test_what_each_gateway_has_is_told() -> None:
    world = World(QUICK)
    good, slow = world.connect("good"), world.connect("slow")
    world.envoys = [good]
    world.clock.now = 7.0
    await world.run(world.router.apply(ROUTE))
    views = {view.node_id: view for view in world.router.gateways("e")}
    listed = {(r.kind, r.name): r for r in views["good"].resources}
    assert set(listed) == {("cluster", "e/blue"), ("endpoints", "e/blue"), ("scoped_route", "e"), ("route", "ep/e")}
    assert {r.state for r in listed.values()} == {ResourceState.ACKED}
    assert listed["route", "ep/e"].version == good.routes()["e"].version
    assert views["good"].counts["listener"] == {ResourceState.ACKED: 1}
    assert views["good"].connected_s == 7.0
    assert (views["good"].late, views["slow"].late) == (False, True)
    assert {r.state for r in views["slow"].resources} == {ResourceState.PENDING}
    slow.settle()
    assert all(view.resources == () for view in world.router.gateways())


async def test_a_refusal_is_told_with_its_reason() -> None:
    world = World()
    envoy = FakeEnvoy(world.router._server, name="taken")
    envoy.refuse = {"gateway"}
    envoy.connect()
    envoy.settle()
    (view,) = world.router.gateways()
    (refused,) = view.resources
    assert (refused.kind, refused.name, refused.state) == ("listener", "gateway", ResourceState.REJECTED)
    assert refused.reason == view.listener_error == "refused ['gateway']"
