"""`kill -9` of the control plane at any moment of a change: the next one brings about what was accepted.

The moments are drawn from a seed, which is printed; ``PENSTOCK_CRASH_SEED`` repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from penstock import Client, manifest
from penstock.errors import PenstockError
from penstock.v1.common_pb2 import PROVISIONING_STATE_DELETING, PROVISIONING_STATE_SUCCEEDED
from penstock.v1.deployment_pb2 import Deployment
from penstock.v1.endpoint_pb2 import Endpoint
from tests.e2e.conftest import Show
from tests.e2e.files import deployment_yaml, serve
from tests.e2e.load import Load, aim
from tests.e2e.platform import Platform

ENDPOINT = "house"
OTHER = "yard"
"""An endpoint that comes and goes."""
SECONDS = (0.03, 0.3, 2.0)
"""A kill comes at most this long after the change was asked for: in the transaction, in the launch, in what follows."""


@dataclass
class Crashes:
    """Changes of endpoints and deployments, each cut short by a kill, and what each should have led to.

    ``blue`` has all the traffic and is updated only; the others come and go.
    """

    platform: Platform
    message: Deployment
    chance: random.Random
    wanted: dict[str, int]
    """The version each has; a deployment's is an environment variable, so another one needs new instances."""
    version: int = 0
    trace: list[str] = field(default_factory=list)

    def crash(self) -> None:
        """One change, one kill, one start."""
        name, verb, change = self._draw()
        before = dict(self.wanted)
        after = {k: v for k, v in before.items() if k != name} | ({name: self.version} if verb != "delete" else {})
        delay = self.chance.uniform(0, self.chance.choice(SECONDS))
        self.trace.append(f"{verb} {name} (version {self.version}), killed after {delay * 1000:.0f} ms")
        accepted = threading.Event()

        def ask() -> None:
            try:
                with self.platform.client() as client:
                    change(client)
                accepted.set()
            except PenstockError as error:
                self.trace.append(f"no answer: {error}")

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(delay)
        self.platform.kill()
        asking.join()
        self.platform.start()
        # What was accepted must come about; what got no answer may have been accepted or not.
        with self.platform.client() as client:
            found = self._versions(client)
            assert found == after if accepted.is_set() else found in (before, after), self.trace[-3:]
            self.wanted = found
            self.platform.until(lambda: self._settled(client), 60)
            self._check(client)

    def _draw(self) -> tuple[str, str, Callable[[Client], object]]:
        self.version += 1
        name = self.chance.choice(["blue", "green", "red", OTHER])
        if name == OTHER and name in self.wanted:
            return name, "delete", lambda client: client.endpoints.delete(name)
        if name == OTHER:
            version = str(self.version)
            return name, "create", lambda client: client.endpoints.create(name, Endpoint(tags={"version": version}))
        message = Deployment()
        message.CopyFrom(self.message)
        message.environment_variables["VERSION"] = str(self.version)
        if name not in self.wanted:
            return name, "create", lambda client: client.deployments.create(ENDPOINT, name, message)
        if name != "blue" and self.chance.random() < 0.5:
            return name, "delete", lambda client: client.deployments.delete(ENDPOINT, name)
        fields = ["environment_variables"]
        return name, "update", lambda client: client.deployments.update(ENDPOINT, name, message, fields)

    def _versions(self, client: Client) -> dict[str, int]:
        """By deployment, without those that are on their way out."""
        shown = client.deployments.list(ENDPOINT)
        stay = [d for d in shown if d.provisioning_state != PROVISIONING_STATE_DELETING]
        others = [
            e
            for e in client.endpoints.list()
            if _short(e) == OTHER and e.provisioning_state != PROVISIONING_STATE_DELETING
        ]
        versions = {_short(d): int(d.environment_variables["VERSION"]) for d in stay}
        return versions | {_short(e): int(e.tags["version"]) for e in others}

    def _settled(self, client: Client) -> bool:
        shown = client.deployments.list(ENDPOINT)
        endpoints = client.endpoints.list()
        return (
            {_short(d) for d in (*shown, *endpoints)} == {ENDPOINT, *self.wanted}
            and all(e.provisioning_state == PROVISIONING_STATE_SUCCEEDED for e in endpoints)
            and all(
                d.provisioning_state == PROVISIONING_STATE_SUCCEEDED
                and d.observed_generation == d.generation
                and d.ready_instances == d.instance_count
                for d in shown
            )
            and self._strays(client) == []
        )

    def _strays(self, client: Client) -> list[str]:
        """Processes that are neither the control plane, the gateway nor of an instance."""
        assert self.platform.process is not None
        instances = {instance.pid for instance in client.deployments.instances(ENDPOINT)}
        strays = []
        for process in self.platform.processes():
            # One that ends while it is looked at is no stray.
            with contextlib.suppress(psutil.NoSuchProcess):
                family = {process.pid, *(parent.pid for parent in process.parents())}
                known = process.pid == self.platform.process.pid or process.info["name"] == "envoy"
                if not known and not family & instances:
                    strays.append(" ".join(process.info["cmdline"]))
        return strays + ["missing"] * (len(instances) != len(self.wanted.keys() - {OTHER}))

    def _check(self, client: Client) -> None:
        key = client.endpoints.keys(ENDPOINT).primary_key
        for name, version in self.wanted.items():
            if name == OTHER:
                continue
            answer = self.platform.score(ENDPOINT, {}, key=key, headers={"azureml-model-deployment": name})
            assert (answer.status, answer.json()["version"]) == (200, str(version)), (name, self.trace[-3:])


def _short(resource: Deployment | Endpoint) -> str:
    return resource.name.rpartition("/")[2]


@pytest.mark.parametrize("times", [5, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_a_kill_at_any_moment_of_a_change_ends_in_what_was_accepted(
    fresh_platform: Platform, tmp_path: Path, show: Show, times: int
) -> None:
    seed = int(os.environ.get("PENSTOCK_CRASH_SEED") or random.randrange(2**32))
    platform = fresh_platform
    platform.start()
    key = serve(platform, tmp_path, ENDPOINT, "blue")
    score = "import os\ndef init(): pass\ndef run(data): return {'version': os.environ['VERSION']}\n"
    loaded = manifest.load_deployment(
        deployment_yaml(tmp_path, ENDPOINT, "blue", score=score, variables={"VERSION": "0"})
    ).value
    with platform.client() as client:
        message = client.publisher.deployment(loaded)
        client.deployments.update(ENDPOINT, "blue", message, []).wait()
    crashes = Crashes(platform, message, random.Random(seed), {"blue": 0})
    show(f"{times} kills, seed {seed}")
    with Load(aim(platform.gateway_port, ENDPOINT, key), connections=2, rate=50) as load:
        for _ in range(times):
            try:
                crashes.crash()
            except BaseException:
                show("\n".join(crashes.trace[-5:]))
                raise
    show(f"seed {seed}: {times} kills, and {load.tally}")
    assert load.tally.failures == [], platform.refused()
