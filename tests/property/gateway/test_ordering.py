"""Whatever endpoints become, in whatever order Envoys answer, no route ever names a cluster that is not there."""

from __future__ import annotations

import asyncio
import contextlib
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.routes import (
    DeploymentRoute,
    EndpointAuth,
    EndpointRoute,
    Host,
    HostHealth,
    RouteRefusedError,
    Sticky,
    StickyBy,
)
from gateway.stages import ABSENT, Stage, plan
from tests.unit.gateway.fake_envoy import CDS, FakeEnvoy
from tests.unit.gateway.test_router import World

AUTH = EndpointAuth(key_digests=(("primary", "0a" * 32),))
STICKY = Sticky(StickyBy.HEADER, "x-user")
DEPLOYMENTS = ("blue", "green", "red")
ENDPOINTS = ("a", "b")


@st.composite
def hosts(draw: st.DrawFn, name: str) -> tuple[Host, ...]:
    numbers = draw(st.lists(st.integers(0, 3), unique=True, max_size=3))
    return tuple(
        Host(f"{name}{n}", f"unix:///run/{name}{n}", draw(st.sampled_from(HostHealth)), (f"unix:///run/{name}{n}g",))
        for n in numbers
    )


@st.composite
def endpoints(draw: st.DrawFn, name: str) -> EndpointRoute:
    chosen = draw(st.lists(st.sampled_from(DEPLOYMENTS), unique=True, max_size=3))
    deployments = tuple(
        DeploymentRoute(
            deployment,
            draw(hosts(deployment)),
            instance_count=draw(st.integers(1, 2)),
            request_timeout_ms=draw(st.sampled_from([100, 5000])),
            grpc=draw(st.booleans()),
        )
        for deployment in chosen
    )
    weights: tuple[tuple[str, int], ...] = ()
    if chosen and draw(st.booleans()):
        first = draw(st.integers(0, 100)) if len(chosen) > 1 else 100
        weights = ((chosen[0], first), *(((chosen[1], 100 - first),) if len(chosen) > 1 else ()))
    return EndpointRoute(name, AUTH, deployments, weights, sticky=draw(st.sampled_from([None, STICKY])))


def goals() -> st.SearchStrategy[tuple[str, EndpointRoute | None]]:
    def one(name: str) -> st.SearchStrategy[tuple[str, EndpointRoute | None]]:
        return st.tuples(st.just(name), st.one_of(st.none(), endpoints(name)))

    return st.sampled_from(ENDPOINTS).flatmap(one)


def stage_of(goal: EndpointRoute | None) -> Stage:
    return ABSENT if goal is None else Stage.of(goal)


@given(st.one_of(st.none(), endpoints("a")), st.one_of(st.none(), endpoints("a")))
def test_every_stage_serves_by_itself(before: EndpointRoute | None, after: EndpointRoute | None) -> None:
    current, goal = stage_of(before), stage_of(after)
    stages = plan(current, goal)
    assert (stages[-1] if stages else current) == goal
    assert len(stages) <= 3
    for stage in stages:
        backed = {deployment.name for deployment in stage.backends}
        assert stage.front is None or {deployment.name for deployment in stage.front.deployments} <= backed


@given(st.one_of(st.none(), endpoints("a")), endpoints("a"))
def test_no_host_stops_serving_before_the_routes_have_moved(before: EndpointRoute | None, after: EndpointRoute) -> None:
    current, goal = stage_of(before), stage_of(after)
    previous = current
    for stage in plan(current, goal):
        if stage.front != previous.front:
            assert stage.backends == previous.backends  # one thing at a time: what backs both is there already
        elif stage.front != goal.front:
            assert serving(previous) <= serving(stage)
        previous = stage


def serving(stage: Stage) -> set[tuple[str, str]]:
    return {(d.name, h.instance) for d in stage.backends for h in d.hosts if h.health is HostHealth.SERVING}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(goals(), min_size=1, max_size=8), st.integers(0, 2**32))
def test_no_step_of_any_envoy_is_wrong(steps: list[tuple[str, EndpointRoute | None]], seed: int) -> None:
    asyncio.run(_play(steps, random.Random(seed)))


async def _play(steps: list[tuple[str, EndpointRoute | None]], chance: random.Random) -> None:
    world = World()
    envoys = [world.connect("one"), world.connect("two")]
    final: dict[str, EndpointRoute | None] = {}

    async def change(name: str, goal: EndpointRoute | None) -> None:
        # A lost race with a disconnection is told as ABSENT; the state is recorded all the same.
        with contextlib.suppress(RouteRefusedError):
            await (world.router.remove(name) if goal is None else world.router.apply(goal))

    async with asyncio.TaskGroup() as group:
        tasks = []
        for name, goal in steps:
            final[name] = goal
            tasks.append(group.create_task(change(name, goal)))
            for _ in range(chance.randrange(8)):
                await _something(envoys, world, chance)
        while not all(task.done() for task in tasks):
            await _something(envoys, world, chance)
    for envoy in envoys:
        if envoy._stream is None:
            envoy.connect()
        envoy.settle()
    for envoy in envoys:
        envoy.settle()
        assert envoy.violations == []
        assert set(envoy.routes()) == {name for name, goal in final.items() if goal is not None}
        assert set(envoy.config[CDS]) == {
            f"{name}/{d.name}{suffix}"
            for name, goal in final.items()
            if goal is not None
            for d in goal.deployments
            for suffix in (("", "/grpc") if d.grpc else ("",))
        }
    assert world.router.status().pending == ()


async def _something(envoys: list[FakeEnvoy], world: World, chance: random.Random) -> None:
    """One thing that can happen next."""
    await asyncio.sleep(0)
    envoy = chance.choice(envoys)
    if envoy._stream is None:
        envoy.connect()
        return
    action = chance.randrange(30)
    if action == 0:
        envoy.disconnect()
    elif action < 10:
        envoy.collect()
    elif action < 20:
        envoy.take_one()
    else:
        envoy.reply_one()
