"""Whatever is asked for in whatever order, at each quiet point a real Envoy serves exactly that: seen by requests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from controlplane.gateway_process import RestartUnderWayError
from gateway.routes import DeploymentRoute, EndpointAuth, EndpointRoute, HostHealth
from tests.integration.gateway.kept_rig import KeptRig
from tests.integration.gateway.rig import digest, until

pytestmark = pytest.mark.integration

ENDPOINTS = ("a", "b", "c")
DEPLOYMENTS = ("blue", "green", "red")
INSTANCES = ("i0", "i1", "i2", "i3")
REQUESTS = 12
SLOW_SECONDS = 600.0

instances = st.lists(st.sampled_from(INSTANCES), unique=True, max_size=3)


@dataclass
class Asked:
    """What was asked for of one endpoint: deployments with their serving and draining instances, weights, keys."""

    serving: dict[str, frozenset[str]] = field(default_factory=dict)
    draining: dict[str, frozenset[str]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)

    def route(self, rig: KeptRig, name: str) -> EndpointRoute:
        deployments = tuple(
            DeploymentRoute(
                deployment,
                tuple(rig.host(i) for i in sorted(serving))
                + tuple(replace(rig.host(i), health=HostHealth.DRAINING) for i in sorted(self.draining[deployment])),
                max_concurrent_requests_per_instance=50,
            )
            for deployment, serving in self.serving.items()
        )
        auth = EndpointAuth(key_digests=tuple((client, digest(key)) for client, key in self.keys.items()))
        return EndpointRoute(name, auth, deployments, tuple(self.weights.items()))

    def split(self, chosen: list[str], first: int) -> None:
        """All traffic to one, or shares to two."""
        match chosen:
            case []:
                self.weights = {}
            case [only]:
                self.weights = {only: 100}
            case [one, other, *_]:
                self.weights = {one: first, other: 100 - first}


class Changes(RuleBasedStateMachine):
    """Rules change what is asked for, and have it done; after each the whole of it is compared."""

    rig: ClassVar[KeptRig]
    run_: ClassVar[Callable[[Awaitable[Any]], Any]]

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, Asked] = {}
        self.number = 0

    @initialize()
    def something(self) -> None:
        self._create("a", ["blue", "green"], ["i0", "i1"])
        self._settle("a")

    @rule(
        name=st.sampled_from(ENDPOINTS),
        deployments=st.lists(st.sampled_from(DEPLOYMENTS), unique=True, max_size=2),
        hosts=instances,
    )
    def create(self, name: str, deployments: list[str], hosts: list[str]) -> None:
        if name not in self.asked:
            self._create(name, deployments, hosts)
            self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = self._pick(data)
        del self.asked[name]
        self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), deployment=st.sampled_from(DEPLOYMENTS), hosts=instances)
    def deploy(self, data: st.DataObject, deployment: str, hosts: list[str]) -> None:
        name = self._pick(data)
        self._deploy(name, deployment, hosts)
        self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), deployment=st.sampled_from(DEPLOYMENTS))
    def undeploy(self, data: st.DataObject, deployment: str) -> None:
        name = self._pick(data)
        asked = self.asked[name]
        asked.serving.pop(deployment, None)
        asked.draining.pop(deployment, None)
        if deployment in asked.weights:
            asked.split(list(asked.serving), 50)
        self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), first=st.integers(0, 100))
    def weights(self, data: st.DataObject, first: int) -> None:
        name = self._pick(data)
        self._weights(name, data, first)
        self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), deployment=st.sampled_from(DEPLOYMENTS))
    def drain(self, data: st.DataObject, deployment: str) -> None:
        name = self._pick(data)
        asked = self.asked[name]
        if asked.serving.get(deployment):
            leaving = data.draw(st.sampled_from(sorted(asked.serving[deployment])))
            asked.serving[deployment] -= {leaving}
            asked.draining[deployment] |= {leaving}
            self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), client=st.sampled_from(("primary", "secondary")))
    def regenerate(self, data: st.DataObject, client: str) -> None:
        name = self._pick(data)
        asked = self.asked[name]
        asked.revoked.append(asked.keys[client])
        asked.keys[client] = self._key()
        self._settle(name)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), count=st.integers(2, 6))
    def many_at_once(self, data: st.DataObject, count: int) -> None:
        """Also of the same endpoint: the last one counts."""
        goals: list[tuple[str, EndpointRoute]] = []
        for _ in range(count):
            name = self._pick(data)
            if data.draw(st.booleans()):
                self._weights(name, data, data.draw(st.integers(0, 100)))
            else:
                self._deploy(name, data.draw(st.sampled_from(DEPLOYMENTS)), data.draw(instances))
            goals.append((name, self.asked[name].route(self.rig, name)))

        async def all_of_them() -> None:
            await asyncio.gather(*(self.rig.router.apply(goal) for _, goal in goals))

        Changes.run_(all_of_them())
        Changes.run_(self._compare())

    @rule(data=st.data())
    def control_plane_restarts(self, data: st.DataObject) -> None:
        """Maybe with something changed meanwhile."""
        if self.asked and data.draw(st.booleans()):
            name = self._pick(data)
            self._deploy(name, data.draw(st.sampled_from(DEPLOYMENTS)), data.draw(instances))
            self._weights(name, data, data.draw(st.integers(0, 100)))
        Changes.run_(self._restart_control_plane())

    @rule()
    def envoy_dies(self) -> None:
        Changes.run_(self._kill_envoy())

    @rule()
    def envoy_is_replaced(self) -> None:
        Changes.run_(self._hot_restart())

    def teardown(self) -> None:
        for name in list(self.asked):
            del self.asked[name]
            self._settle(name)

    def _pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.asked)))

    def _key(self) -> str:
        self.number += 1
        return f"key-{self.number:028d}"

    def _create(self, name: str, deployments: list[str], hosts: list[str]) -> None:
        self.asked[name] = Asked(keys={"primary": self._key(), "secondary": self._key()})
        for deployment in deployments:
            self._deploy(name, deployment, hosts)
        self.asked[name].split(deployments, 50)

    def _deploy(self, name: str, deployment: str, hosts: list[str]) -> None:
        self.asked[name].serving[deployment] = frozenset(hosts)
        self.asked[name].draining[deployment] = frozenset()

    def _weights(self, name: str, data: st.DataObject, first: int) -> None:
        asked = self.asked[name]
        chosen = (
            data.draw(st.lists(st.sampled_from(sorted(asked.serving)), unique=True, max_size=2))
            if asked.serving
            else []
        )
        asked.split(chosen, first)

    def _settle(self, name: str) -> None:
        Changes.run_(self._apply(name))

    async def _apply(self, name: str) -> None:
        if name in self.asked:
            await self.rig.router.apply(self.asked[name].route(self.rig, name))
        else:
            await self.rig.router.remove(name)
        await self._compare()

    async def _restart_control_plane(self) -> None:
        rig = self.rig
        routes = [asked.route(rig, name) for name, asked in self.asked.items()]
        await rig.restart_control_plane(*routes)
        # One that finishes what it has after a hot restart must be back, too: connections to it are still served.
        await until(self._all_connected, 10)
        await asyncio.gather(*(rig.router.apply(route) for route in routes))
        await until(lambda: not rig.router.status().pending, 10)
        await self._compare()

    def _all_connected(self) -> bool:
        return self.rig.router.status().connected == len(self.rig.process._epochs.running())

    async def _kill_envoy(self) -> None:
        pid = self.rig.process.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.rig.process.pid not in {0, pid}, 10)
        await until(self.rig.admin.ready, 20)
        await until(self._all_connected, 10)
        await self._compare()

    async def _hot_restart(self) -> None:
        try:
            await self.rig.process.restart()
        except RestartUnderWayError:
            return
        await self._compare()

    async def _compare(self) -> None:
        """Every endpoint there could be, by requests."""
        await self.rig.arrived()
        for name in ENDPOINTS:
            asked = self.asked.get(name)
            if asked is None:
                assert await self._ask(name, "any") == (404, "", "")
            else:
                await self._compare_one(name, asked)

    async def _compare_one(self, name: str, asked: Asked) -> None:
        for key in ("wrong", *asked.revoked[-3:]):
            assert (await self._ask(name, key))[0] == 401, f"{name}: an invalid key was let in"
        key = asked.keys["secondary"]
        for deployment in DEPLOYMENTS:
            status, answered, instance = await self._ask(name, key, deployment)
            if deployment not in asked.serving:
                assert status == 404, f"{name}/{deployment} is not there, and answered {status}"
            elif not asked.serving[deployment]:
                assert status == 503, f"{name}/{deployment} has no instance, and answered {status}"
            else:
                assert (status, answered) == (200, deployment)
                assert instance in asked.serving[deployment], f"{name}/{deployment}: {instance} is not to serve"
        wanted = {deployment for deployment, share in asked.weights.items() if share}
        for _ in range(REQUESTS if len(wanted) > 1 else 2):
            status, answered, instance = await self._ask(name, asked.keys["primary"])
            if not wanted:
                assert status == 404
                break
            assert answered in wanted, f"{name}: {answered or status} has no traffic"
            assert status == (200 if asked.serving[answered] else 503)
            assert status == 503 or instance in asked.serving[answered]

    async def _ask(self, name: str, key: str, deployment: str = "") -> tuple[int, str, str]:
        """Status, deployment, instance."""
        headers = {"authorization": f"Bearer {key}"}
        if deployment:
            headers["azureml-model-deployment"] = deployment
        response = await self.rig.client.get(f"/endpoints/{name}/score", headers=headers)
        instance = response.json()["instance"] if response.status_code == 200 else ""
        return response.status_code, response.headers.get("azureml-model-deployment", ""), instance


@pytest.fixture
def machine() -> Iterator[type[Changes]]:
    """The state machine on a running rig. Hypothesis knows no event loop, so each step runs a part of one."""
    with asyncio.Runner() as runner:
        rig = KeptRig()
        Changes.run_ = runner.run
        Changes.rig = runner.run(rig.__aenter__())
        for name in INSTANCES:
            rig.host(name)
        try:
            yield Changes
        finally:
            runner.run(rig.__aexit__(None, None, None))


def play(machine: type[Changes], examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # Not shrunk: what a real Envoy did once it need not do again, and to try takes minutes.
            phases=(Phase.generate,),
        ),
    )


def test_random_changes(machine: type[Changes]) -> None:
    play(machine, examples=6, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(SLOW_SECONDS + 300)
def test_ten_minutes_of_random_changes(machine: type[Changes]) -> None:
    end = time.monotonic() + SLOW_SECONDS
    while time.monotonic() < end:
        play(machine, examples=10, steps=50)
