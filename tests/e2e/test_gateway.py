"""The gateway as an operator meets it: looked at, restarted, and started while the control plane is away."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.e2e.files import deployment_yaml, endpoint_yaml, serve
from tests.e2e.load import Load, aim
from tests.e2e.platform import Platform


def envoys(platform: Platform) -> list[psutil.Process]:
    return [process for process in platform.processes() if process.info["name"] == "envoy"]


def test_config_and_restart_under_load(platform: Platform, tmp_path: Path) -> None:
    key = serve(platform, tmp_path, "kept", "blue", "green")
    (gateway,) = platform.json("gateway", "config", "-e", "kept")
    assert (gateway["name"], gateway["state"], gateway["pending"], gateway["rejected"]) == ("gateway", "serving", 0, 0)
    assert {r["name"] for r in gateway["resources"]} >= {"kept", "ep/kept", "kept/blue", "kept/green"}
    assert "1.40.0" in platform.cli("gateway", "config", "-o", "table").stdout

    (before,) = envoys(platform)
    with Load(aim(platform.gateway_port, "kept", key)) as load:
        done = platform.json("gateway", "restart")
        refused = platform.cli("gateway", "restart", check=False)
        load.more(500)
    assert load.tally.failures == []
    assert (done["epoch"], done["version"]) == (1, "1.40.0")
    assert done["pid"] != before.pid
    assert refused.returncode == 1
    assert "predecessor still finishes" in refused.stderr
    platform.until(lambda: [process.pid for process in envoys(platform)] == [done["pid"]], 60)
    assert platform.score("kept", {}, key=key).status == 200


IN_TURN = """\
import os, time

def init():
    pass

def run(data):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(data)
    # Longer than any caller is kept waiting: those that wait behind it are given up.
    time.sleep(2.5 if data == "0" else 0)
    return data
"""


def test_work_whose_caller_the_gateway_gave_up_is_not_started(platform: Platform, tmp_path: Path) -> None:
    """One at a time, and the first takes longer than any caller is kept waiting."""
    notes = tmp_path / "notes"
    platform.cli("online-endpoint", "create", "-f", endpoint_yaml(tmp_path, "late"))
    path = deployment_yaml(
        tmp_path, "late", "blue", score=IN_TURN, variables={"NOTES": str(notes)}, concurrent=1, timeout_ms=1000
    )
    platform.cli("online-deployment", "create", "-f", path, "--all-traffic")
    key = platform.key("late")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(platform.score, "late", 0, key=key)
        platform.until(notes.exists)
        assert platform.score("late", 1, key=key).status == 408
        assert first.result().status != 200
    # Whatever was to run has begun before this one is answered.
    platform.until(lambda: platform.score("late", 9, key=key).status == 200)
    assert notes.read_text() == "09"


def test_a_regenerated_key_is_refused_within_a_second_and_the_other_serves_on(
    platform: Platform, tmp_path: Path
) -> None:
    old = serve(platform, tmp_path, "rekeyed", "blue")
    other = str(platform.json("online-endpoint", "get-credentials", "-n", "rekeyed")["secondaryKey"])
    with Load(aim(platform.gateway_port, "rekeyed", other)) as load:
        for _ in range(3):
            platform.cli("online-endpoint", "regenerate-keys", "-n", "rekeyed", "--key-type", "primary")
            platform.until(lambda old=old: platform.score("rekeyed", {}, key=old).status == 401, seconds=1.0)
            old = platform.key("rekeyed")
            assert platform.score("rekeyed", {}, key=old).status == 200
    assert load.tally.failures == []


def test_a_gateway_that_starts_while_the_control_plane_is_away(fresh_platform: Platform, tmp_path: Path) -> None:
    platform = fresh_platform
    refused = platform.cli("gateway", "start", check=False)
    assert refused.returncode == 1
    assert "no state to serve from" in refused.stderr
    platform.start()
    key = serve(platform, tmp_path, "away", "blue")
    assert "the platform runs" in platform.cli("gateway", "start").stderr

    platform.kill()
    (gateway,) = envoys(platform)
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.wait()
    told = platform.json("gateway", "start")
    assert str(platform.gateway_port) in told["gateway"]
    (gateway,) = envoys(platform)
    assert gateway.pid == told["pid"]
    with Load(aim(platform.gateway_port, "away", key)) as load:
        load.more(300)
        platform.start()
        client_pid = json.loads((platform.home / "platform.json").read_bytes())["pid"]
        platform.until(lambda: len([p for p in platform.processes() if "gateway" in p.info["cmdline"]]) == 0)
        load.more(300)
    assert load.tally.failures == []
    assert [p.pid for p in envoys(platform)] == [gateway.pid]
    assert platform.process is not None
    assert client_pid == platform.process.pid
    platform.stop()
    assert not (platform.home / "gateway" / "snapshot").exists()
    assert envoys(platform) == []
