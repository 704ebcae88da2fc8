"""The router against Envoys without sockets: order, acknowledgements, refusals, disconnections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ads_stream import ROUTES_GRACE_S
from gateway.router import EnvoyRouter
from gateway.routes import AuthMode, DeploymentRoute, EndpointAuth, EndpointRoute, Host, Refusal, RouteRefusedError
from gateway.settings import GatewaySettings
from gateway.snapshot import Resource
from tests.unit.gateway.fake_envoy import CDS, EDS, LDS, RDS, SRDS, FakeEnvoy

AUTH = EndpointAuth(key_digests=(("primary", "0a" * 32),))
OTHER = EndpointAuth(key_digests=(("primary", "0b" * 32),))
SETTINGS = GatewaySettings(
    Path("/run/ads"), Path("/run/admin"), Path("/run/access.log"), Path("/run/bootstrap.json"), ack_timeout_s=60.0
)


def deployment(name: str, *hosts: str) -> DeploymentRoute:
    return DeploymentRoute(name, tuple(Host(host, f"unix:///run/{host}.sock") for host in hosts))


ROUTE = EndpointRoute("e", AUTH, (deployment("blue", "b1"),), (("blue", 100),))
BOTH = replace(
    ROUTE, deployments=(*ROUTE.deployments, deployment("green", "g1")), weights=(("blue", 90), ("green", 10))
)


class Clock:
    """Monotonic seconds that pass only when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """A router and its Envoys."""

    def __init__(self, settings: GatewaySettings = SETTINGS) -> None:
        self.clock = Clock()
        self.connections: list[int] = []
        self.router = EnvoyRouter(settings, clock=self.clock, on_connection=self.connections.append)
        self.envoys: list[FakeEnvoy] = []

    def connect(self, name: str = "fake") -> FakeEnvoy:
        envoy = FakeEnvoy(self.router._server, name=name)
        envoy.connect()
        envoy.settle()
        self.envoys.append(envoy)
        return envoy

    async def run(self, call: Coroutine[object, object, None]) -> None:
        """Run a call to its end while every Envoy answers."""
        task = asyncio.ensure_future(call)
        while not task.done():
            await asyncio.sleep(0)
            for envoy in self.envoys:
                envoy.settle()
        await task


@asynccontextmanager
async def running(call: Coroutine[object, object, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(call)
    for _ in range(5):
        await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def world() -> World:
    return World()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")


async def test_a_new_endpoint_is_complete_on_every_envoy(world: World) -> None:
    first, second = world.connect("one"), world.connect("two")
    await world.run(world.router.apply(BOTH))
    for envoy in (first, second):
        assert set(envoy.routes()) == {"e"}
        assert set(envoy.config[EDS]) == {"e/blue", "e/green"}
        assert envoy.violations == []
    assert world.router.status().connected == 2
    assert world.router.status().endpoints == 1
    assert world.router.status().pending == ()


async def test_the_listener_is_there_before_any_endpoint(world: World) -> None:
    assert set(world.connect().config[LDS]) == {"gateway"}


async def test_a_weight_change_sends_one_resource(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    before = envoy.sent
    await world.run(world.router.apply(replace(BOTH, weights=(("blue", 10), ("green", 90)))))
    assert envoy.sent - before == 1


async def test_other_credentials_send_one_resource(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    for auth in (OTHER, EndpointAuth(AuthMode.TOKEN), EndpointAuth(AuthMode.TOKEN, tokens_not_before=1)):
        before = envoy.sent
        await world.run(world.router.apply(replace(BOTH, auth=auth)))
        assert envoy.sent - before == 1


async def test_new_hosts_send_one_resource(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(ROUTE))
    before = envoy.sent
    await world.run(world.router.apply(replace(ROUTE, deployments=(deployment("blue", "b1", "b2"),))))
    assert envoy.sent - before == 1


async def test_a_tuned_cluster_gets_its_hosts_again(world: World) -> None:
    """Rule 6: Envoy warms the cluster anew and would wait 15 s for hosts it does not ask for."""
    envoy = world.connect()
    await world.run(world.router.apply(ROUTE))
    before = envoy.sent
    tuned = replace(ROUTE.deployments[0], instance_count=4)
    await world.run(world.router.apply(replace(ROUTE, deployments=(tuned,))))
    assert envoy.sent - before == 2


async def test_the_same_again_sends_nothing(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    before = envoy.sent
    await world.run(world.router.apply(BOTH))
    assert envoy.sent == before


async def test_apply_returns_only_when_all_have_acknowledged(world: World) -> None:
    fast, slow = world.connect("fast"), world.connect("slow")
    async with running(world.router.apply(ROUTE)) as task:
        for _ in range(20):
            fast.settle()
            await asyncio.sleep(0)
        assert not task.done()
        assert world.router.status().pending == ("e",)
        world.envoys = [fast, slow]
        await world.run(asyncio.wait_for(task, None))


async def test_an_envoy_that_leaves_is_not_waited_for(world: World) -> None:
    stays, leaves = world.connect("stays"), world.connect("leaves")
    async with running(world.router.apply(ROUTE)) as task:
        leaves.disconnect()
        world.envoys = [stays]
        await world.run(asyncio.wait_for(task, None))
    assert world.connections[-1] == 1


async def test_without_an_envoy_the_route_is_kept_and_the_caller_told(world: World) -> None:
    with pytest.raises(RouteRefusedError) as caught:
        await world.router.apply(ROUTE)
    assert caught.value.reason is Refusal.ABSENT
    assert set(world.connect().routes()) == {"e"}
    await world.run(world.router.apply(ROUTE))


async def test_remove_forgets_everything(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    await world.run(world.router.remove("e"))
    assert (envoy.config[CDS], envoy.config[SRDS], envoy.config[RDS]) == ({}, {}, {})
    assert envoy.violations == []
    assert world.router.status().endpoints == 0


async def test_remove_of_an_unknown_endpoint_does_nothing(world: World) -> None:
    envoy = world.connect()
    before = envoy.sent
    await world.router.remove("nobody")
    assert envoy.sent == before


async def test_a_refused_route_leaves_what_served_before(world: World) -> None:
    good, picky = world.connect("good"), world.connect("picky")
    await world.run(world.router.apply(ROUTE))
    served = good.routes()["e"]
    picky.refuse = {"ep/e"}
    with pytest.raises(RouteRefusedError) as caught:
        await world.run(world.router.apply(BOTH))
    assert caught.value.reason is Refusal.REJECTED
    assert "refused ['ep/e']" in str(caught.value)
    assert world.router.status().rejected == {"e": str(caught.value)}
    picky.refuse = set()
    for envoy in (good, picky):
        envoy.settle()
        assert envoy.routes() == {"e": served}
        assert envoy.violations == []
    assert world.connect("newcomer").routes() == {"e": served}
    await world.run(world.router.apply(BOTH))
    assert world.router.status().rejected == {}


async def test_who_may_call_changes_although_the_rest_is_refused(world: World) -> None:
    """A key that was revoked must not open on because a gateway refuses something else of the endpoint."""
    picky = world.connect()
    await world.run(world.router.apply(ROUTE))
    picky.refuse_what = lambda resource: resource.type is RDS and b"green" in resource.body
    with pytest.raises(RouteRefusedError):
        await world.run(world.router.apply(replace(BOTH, auth=OTHER)))
    assert picky.routes() == await served(replace(ROUTE, auth=OTHER))
    await world.run(world.router.apply(replace(ROUTE, auth=AUTH)))
    assert picky.routes() == await served(ROUTE)


async def test_who_may_call_is_refused_so_nobody_may(world: World) -> None:
    picky = world.connect()
    await world.run(world.router.apply(ROUTE))
    picky.refuse_what = lambda resource: resource.type is RDS and b"0b0b" in resource.body
    with pytest.raises(RouteRefusedError):
        await world.run(world.router.apply(replace(ROUTE, auth=OTHER)))
    assert picky.routes() == await served(replace(ROUTE, auth=EndpointAuth()))


async def test_everything_is_refused_so_the_endpoint_is_unknown(world: World) -> None:
    picky = world.connect()
    await world.run(world.router.apply(ROUTE))
    picky.refuse = {"ep/e"}
    with pytest.raises(RouteRefusedError):
        await world.run(world.router.apply(replace(ROUTE, auth=OTHER)))
    assert picky.routes() == {}
    assert world.connect("newcomer").routes() == {}
    picky.refuse = set()
    await world.run(world.router.apply(replace(ROUTE, auth=OTHER)))
    assert picky.routes() == await served(replace(ROUTE, auth=OTHER))
    assert picky.violations == []


async def served(route: EndpointRoute) -> dict[str, Resource]:
    """The routes of an Envoy that was never told anything else."""
    world = World()
    envoy = world.connect()
    await world.run(world.router.apply(route))
    return envoy.routes()


async def test_a_refused_cluster_sinks_only_its_own_endpoint(world: World) -> None:
    """Rule 7: both creations travel in one message."""
    envoy = world.connect()
    envoy.refuse = {"bad/blue"}
    bad = replace(ROUTE, name="bad")
    outcome = asyncio.gather(world.router.apply(bad), world.router.apply(ROUTE), return_exceptions=True)

    async def both() -> None:
        await outcome

    await world.run(both())
    refused, fine = outcome.result()
    assert isinstance(refused, RouteRefusedError)
    assert fine is None
    assert set(envoy.routes()) == {"e"}


async def test_a_silent_envoy_is_a_timeout_and_the_call_can_be_repeated() -> None:
    world = World(replace(SETTINGS, ack_timeout_s=0.0))
    envoy = world.connect()
    with pytest.raises(RouteRefusedError) as caught:
        await world.router.apply(ROUTE)
    assert caught.value.reason is Refusal.TIMEOUT
    envoy.settle()
    for _ in range(3):  # one stage further each time; none is lost
        try:
            await world.router.apply(ROUTE)
            break
        except RouteRefusedError:
            envoy.settle()
    assert set(envoy.routes()) == {"e"}
    assert envoy.violations == []


async def test_calls_for_one_endpoint_follow_each_other(world: World) -> None:
    envoy = world.connect()
    last = replace(BOTH, weights=(("green", 100),))

    async def three() -> None:
        await asyncio.gather(world.router.apply(ROUTE), world.router.apply(BOTH), world.router.apply(last))

    await world.run(three())
    fresh = World()
    fresh_envoy = fresh.connect()
    await fresh.run(fresh.router.apply(last))
    assert envoy.routes() == fresh_envoy.routes()
    assert world.router._locks == {}


async def test_an_invalid_route_changes_nothing(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(ROUTE))
    before = envoy.sent
    with pytest.raises(RouteRefusedError) as caught:
        await world.router.apply(replace(ROUTE, weights=(("blue", 99),)))
    assert caught.value.reason is Refusal.INVALID
    assert envoy.sent == before


async def test_preload_serves_at_once_and_leaves_out_what_is_broken(world: World) -> None:
    world.router.preload((ROUTE, replace(ROUTE, name="broken", weights=(("red", 100),))))
    assert set(world.connect().routes()) == {"e"}
    assert list(world.router.status().rejected) == ["broken"]


async def test_the_socket_never_opens_before_the_state_is_loaded(world: World) -> None:
    """Rule 8: an empty first answer makes Envoy drop what it serves."""
    with pytest.raises(RuntimeError, match="preloaded"):
        await world.router.start()


async def test_after_a_restart_nothing_known_is_sent_again(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    envoy.disconnect()
    successor = World()
    successor.router.preload((BOTH,))
    envoy._server = successor.router._server
    before = envoy.sent
    envoy.connect()
    envoy.settle()
    assert envoy.sent == before
    successor.envoys = [envoy]
    await successor.run(successor.router.apply(BOTH))


async def test_clusters_outlive_the_routes_of_an_envoy_that_comes_back(world: World) -> None:
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    envoy.disconnect()
    with pytest.raises(RouteRefusedError):
        await world.router.apply(replace(ROUTE, deployments=(deployment("red", "r1"),), weights=(("red", 100),)))
    envoy.connect()
    envoy.settle()
    assert envoy.violations == []
    assert set(envoy.config[CDS]) == {"e/red"}
    assert envoy.violations == []


async def test_an_envoy_without_a_listener_does_not_hold_up_removals(world: World) -> None:
    """Its port is taken, say: it never asks for routes, and so never says that it has let them go."""
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    envoy.disconnect()
    for kind in (LDS, SRDS, RDS):
        envoy.config[kind].clear()
    envoy.mute = {SRDS, RDS}
    envoy.connect()
    async with running(world.router.remove("e")) as task:
        envoy.settle()
        assert set(envoy.config[CDS]) == {"e/blue", "e/green"}
        world.clock.now += ROUTES_GRACE_S
        world.envoys = [envoy]
        await world.run(asyncio.wait_for(task, None))
    assert envoy.config[CDS] == {}


async def test_what_envoy_says_to_hold_already_needs_no_acknowledgement(world: World) -> None:
    """A control plane that restarts applies at once, while Envoy is still telling what it has."""
    envoy = world.connect()
    await world.run(world.router.apply(BOTH))
    envoy.disconnect()
    successor = World()
    successor.router.preload((BOTH,))
    envoy._server = successor.router._server
    envoy.connect()
    assert envoy.reply_one()  # it has said who it is, and its clusters
    async with running(successor.router.apply(BOTH)) as task:
        assert not task.done()
        successor.envoys = [envoy]
        await successor.run(asyncio.wait_for(task, 5))
