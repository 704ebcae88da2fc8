"""What the traffic split promises, counted: who answers in which share, and that nobody is lost on a change."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

from tests.e2e.conftest import Show
from tests.e2e.files import deployment_yaml, serve
from tests.e2e.load import Load, aim, send
from tests.e2e.platform import Platform

SPLIT_REQUESTS = 10_000
LOAD_REQUESTS = 20_000
LOAD_RATE = 600.0
"""Requests a second: what a busy machine of two cores still does."""
WEIGHT_CHANGES = 50


def test_a_90_10_split_within_three_sigma(platform: Platform, tmp_path: Path, show: Show) -> None:
    key = serve(platform, tmp_path, "split", "blue", "green")
    platform.cli("online-endpoint", "update", "-n", "split", "--traffic", "blue=90 green=10")

    tally = send(aim(platform.gateway_port, "split", key), SPLIT_REQUESTS)

    sigma = math.sqrt(SPLIT_REQUESTS * 0.9 * 0.1)
    off = tally.by_deployment["green"] - SPLIT_REQUESTS * 0.1
    show(f"split 90/10: {tally}; green is off by {off:+.0f} ({off / sigma:+.2f} sigma)")
    assert tally.failures == []
    assert tally.unnamed == 0
    assert set(tally.by_deployment) == {"blue", "green"}
    assert abs(off) <= 3 * sigma


def test_the_deployment_that_a_response_names_is_the_one_that_answered(platform: Platform, tmp_path: Path) -> None:
    key = serve(platform, tmp_path, "named", "blue", "green")
    platform.cli("online-endpoint", "update", "-n", "named", "--traffic", "blue=50 green=50")
    for _ in range(50):
        answer = platform.score("named", {}, key=key)
        assert answer.headers["azureml-model-deployment"] == answer.json()["deployment"]
    pinned = platform.score("named", {}, key=key, headers={"azureml-model-deployment": "green"})
    assert pinned.json()["deployment"] == "green"


def test_no_request_fails_while_everything_changes(fresh_platform: Platform, tmp_path: Path, show: Show) -> None:
    platform = fresh_platform
    platform.start()
    key = serve(platform, tmp_path, "busy", "blue", "green", instances=2)
    with Load(aim(platform.gateway_port, "busy", key), rate=LOAD_RATE) as load, platform.client() as client:
        for step in range(WEIGHT_CHANGES):
            percent = 10 + step * 37 % 81
            client.endpoints.set_traffic("busy", {"blue": percent, "green": 100 - percent}).wait()
            load.more(200)
        at = {f"{WEIGHT_CHANGES} changes of weight": load.tally.sent}

        platform.cli("online-deployment", "create", "-f", deployment_yaml(tmp_path, "busy", "red"))
        client.endpoints.set_traffic("busy", {"blue": 30, "green": 30, "red": 40}).wait()
        load.more(1000)
        client.endpoints.set_traffic("busy", {"blue": 50, "green": 50}).wait()
        platform.cli("online-deployment", "delete", "-n", "red", "-e", "busy", "--yes")
        at["a deployment added and removed"] = load.tally.sent

        killed = client.deployments.instances("busy", "blue")[0].pid
        os.kill(killed, signal.SIGKILL)
        platform.until(lambda: killed not in [i.pid for i in client.deployments.instances("busy", "blue")])
        platform.until(lambda: client.deployments.get("busy", "blue").ready_instances == 2)
        at["an instance killed"] = load.tally.sent

        platform.kill()
        load.more(1000)
        platform.start()
        client.endpoints.set_traffic("busy", {"blue": 20, "green": 80}).wait()
        load.more(max(1000, LOAD_REQUESTS - load.tally.sent))
        at["the control plane killed and started again"] = load.tally.sent

    tally = load.tally
    show(f"under load: {tally}; sent by the end of each part: {at}")
    assert tally.failures == [], platform.refused()
    assert tally.sent >= LOAD_REQUESTS
    assert tally.unnamed == 0
    assert tally.by_deployment["red"] > 0
