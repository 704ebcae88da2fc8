"""What the control plane learns from a real Envoy, against what its clients saw."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from controlplane.gateway_process import FIGURES
from gateway.digest import RELATIVE_ERROR
from gateway.load import DeploymentLoad
from gateway.traffic import RequestFigures
from tests.integration.gateway.rig import BEARER, Rig, until

pytestmark = pytest.mark.integration

SCORE = "/endpoints/e/score"


def figures(rig: Rig, deployment: str = "") -> RequestFigures:
    return rig.signals.requests.requests("e", deployment)


def load(rig: Rig, deployment: str = "blue") -> DeploymentLoad:
    return rig.signals.load.load("e", deployment) or DeploymentLoad()


def codes(rig: Rig, deployment: str = "") -> dict[tuple[int, int], int]:
    return {tuple(outcome): count for outcome, count in figures(rig, deployment).totals.items()}


async def serve(rig: Rig, **weights: int) -> None:
    await rig.router.apply(rig.endpoint(*(rig.deployment(name, f"{name}1") for name in weights), **weights))


async def test_requests_are_counted_by_deployment_and_outcome(rig: Rig) -> None:
    await serve(rig, blue=70, green=30)
    await rig.router.apply(rig.endpoint(rig.deployment("none"), name="empty", none=100))
    sent = rig.load()
    sent.limit = 500
    await sent.run()
    for _ in range(3):
        await rig.get("/endpoints/e/code/500", azureml_model_deployment="blue")
        await rig.get(SCORE, {})
        await rig.get(SCORE, azureml_model_deployment="nosuch")
        await rig.get("/endpoints/nosuch/score")
    await rig.get("/endpoints/e/code/429", azureml_model_deployment="blue")
    await rig.get("/endpoints/empty/score")

    def counted() -> int:
        requests = rig.signals.requests
        behind = (
            requests.requests(*name).totals for name in (("e",), ("e", "blue"), ("e", "green"), ("empty", "none"))
        )
        return sum(sum(totals.values()) for totals in (*behind, requests.unrouted))

    # Each of Envoy's threads tells of its own requests.
    await until(lambda: counted() == 500 + 3 * 4 + 2)
    assert sent.failures == 0
    assert codes(rig, "blue") == {(200, 200): sent.deployments["blue"], (424, 500): 3, (429, 429): 1}
    assert codes(rig, "green") == {(200, 200): sent.deployments["green"]}
    assert codes(rig) == {(401, 0): 3, (404, 0): 3}
    assert rig.signals.requests.requests("empty", "none").totals == {(503, 0): 1}
    assert rig.signals.requests.unrouted == {404: 3}


async def test_latency_is_what_the_client_waits(rig: Rig) -> None:
    await serve(rig, blue=100)
    waited: list[float] = []
    for _ in range(21):
        begun = time.perf_counter()
        await rig.get("/endpoints/e/slow/150")
        waited.append(time.perf_counter() - begun)
    await until(lambda: figures(rig, "blue").latency.count == 21)
    p50, p99 = (us / 1e6 for us in figures(rig, "blue").latency.quantiles(0.5, 0.99))
    # The gateway sees less than the client by the way there and back, and never less than the instance takes.
    assert 0.15 * (1 - RELATIVE_ERROR) <= p50 <= sorted(waited)[10] * (1 + RELATIVE_ERROR)
    assert p50 <= p99 <= max(waited) * (1 + RELATIVE_ERROR)


async def test_load_is_known_while_requests_run(rig: Rig) -> None:
    await serve(rig, blue=100)
    running = [asyncio.create_task(rig.get("/endpoints/e/slow/2500")) for _ in range(5)]
    await until(lambda: load(rig).now.in_progress == 5)
    assert {address: host.in_progress for address, host in load(rig).hosts.items()} == {rig.host("blue1").address: 5}
    await asyncio.gather(*running)
    await until(lambda: load(rig).now.in_progress == 0)
    await rig.get("/endpoints/e/code/500")
    await until(lambda: load(rig).total.failed == 1)
    assert load(rig).total.succeeded == 5
    assert load(rig).gateways == 1


async def test_a_killed_gateway_leaves_no_gauge_behind(rig: Rig) -> None:
    await serve(rig, blue=100)
    running = [asyncio.create_task(rig.get("/endpoints/e/slow/30000")) for _ in range(3)]
    await until(lambda: load(rig).now.in_progress == 3)
    rig.kill_envoy()
    await asyncio.gather(*running, return_exceptions=True)
    await until(lambda: rig.signals.load.load("e", "blue") is None)
    await rig.start_envoy()
    await until(lambda: load(rig).gateways == 1)
    assert load(rig).now.in_progress == 0
    await rig.get(SCORE)
    await until(lambda: codes(rig, "blue").get((200, 200)) == 1)


async def test_a_new_control_plane_hears_at_once(rig: Rig) -> None:
    await serve(rig, blue=100)
    await rig.get(SCORE)
    await until(lambda: codes(rig, "blue").get((200, 200)) == 1)
    before = rig.signals
    await rig.restart_control_plane(rig.endpoint(rig.deployment("blue", "blue1"), blue=100))
    answered: Counter[int] = Counter()

    async def counted() -> bool:
        answered[(await rig.get(SCORE)).status_code] += 1
        return codes(rig, "blue").get((200, 200), 0) > 0

    await until(counted)
    assert set(answered) == {200}
    assert before is not rig.signals
    assert before.requests.requests("e", "blue").totals == {(200, 200): 1}
    # Envoy asks for load reports again after 5 s at most.
    await until(lambda: load(rig).gateways == 1)


async def test_a_removed_deployment_is_forgotten(rig: Rig) -> None:
    await serve(rig, blue=50, green=50)
    for deployment in ("blue", "green"):
        await rig.get(SCORE, azureml_model_deployment=deployment)
    await rig.get(SCORE, {})
    await until(lambda: len(rig.signals.requests) == 3)
    await serve(rig, blue=100)
    rig.signals.prune()
    assert len(rig.signals.requests) == 2
    await rig.router.remove("e")
    await rig.client.get(SCORE, headers=BEARER)
    await until(lambda: rig.signals.requests.unrouted == {404: 1})
    rig.signals.prune()
    assert len(rig.signals.requests) == 0
    assert rig.signals.load.load("e", "blue") is None


async def test_what_an_absent_control_plane_missed_is_counted_by_the_gateway(rig: Rig) -> None:
    await serve(rig, blue=100)
    await rig.router.stop()
    for _ in range(7):
        assert (await rig.get(SCORE)).status_code == 200

    async def counted() -> bool:
        _, lost = await rig.admin.stats(*FIGURES)
        return lost == 7

    await until(counted)
