"""Nothing is orphaned: whatever ends, and however it ends, what it had started is ended or adopted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from penstock.v1.common_pb2 import CONDITION_STATUS_TRUE, PROVISIONING_STATE_SUCCEEDED
from tests.e2e.files import serve
from tests.e2e.platform import Platform, new_platform, remove


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    """A platform that serves one endpoint with two instances, and the endpoint's key; each test leaves it running."""
    platform = new_platform()
    try:
        platform.start()
        yield platform, serve(platform, tmp_path_factory.mktemp("files"), "house", "blue", instances=2)
    finally:
        platform.destroy()
        remove(platform)


@pytest.fixture
def running(served: tuple[Platform, str]) -> tuple[Platform, str]:
    """As ``served``, started again and whole if the test before ended it."""
    platform, _ = served
    if platform.process is None or platform.process.poll() is not None:
        platform.start()
    whole(platform)
    return served


def whole(platform: Platform) -> None:
    """Wait until both instances answer and are routed to."""

    def answers() -> bool:
        blue = client.deployments.get("house", "blue")
        routed = all(condition.status == CONDITION_STATUS_TRUE for condition in blue.conditions)
        return routed and blue.ready_instances == 2 and blue.provisioning_state == PROVISIONING_STATE_SUCCEEDED

    with platform.client() as client:
        platform.until(answers, 60)


def instances(platform: Platform) -> set[int]:
    with platform.client() as client:
        return {instance.pid for instance in client.deployments.instances()}


def envoy(platform: Platform) -> int:
    return next(p.pid for p in platform.processes() if p.info["name"] == "envoy")


def worker(platform: Platform) -> int:
    """A scorer's worker: the child of an instance's main process."""
    return next(child.pid for pid in sorted(instances(platform)) for child in psutil.Process(pid).children())


def stop_by_signal(number: signal.Signals) -> Callable[[Platform], None]:
    def stop(platform: Platform) -> None:
        assert platform.process is not None
        platform.process.send_signal(number)
        assert platform.process.wait(60) == 0

    return stop


def stop_by_down(platform: Platform) -> None:
    platform.cli("down")
    assert platform.process is not None
    assert platform.process.wait(10) == 0


@pytest.mark.parametrize(
    "stop",
    [stop_by_signal(signal.SIGINT), stop_by_signal(signal.SIGTERM), stop_by_down],
    ids=["ctrl-c", "sigterm", "down"],
)
def test_a_stop_ends_everything(running: tuple[Platform, str], stop: Callable[[Platform], None]) -> None:
    platform, key = running
    stop(platform)
    assert platform.processes() == []
    assert "no platform was running" in platform.cli("down").stderr
    platform.start()
    whole(platform)
    assert platform.score("house", {}, key=key).status == 200


def test_down_ends_what_a_killed_control_plane_left(running: tuple[Platform, str]) -> None:
    platform, _ = running
    platform.kill()
    assert platform.processes() != []
    platform.cli("down")
    assert platform.processes() == []


def test_a_killed_control_plane_stops_nothing_and_the_next_adopts_what_runs(running: tuple[Platform, str]) -> None:
    platform, key = running
    before = {envoy(platform), *instances(platform)}
    platform.kill()
    assert platform.score("house", {}, key=key).status == 200
    platform.start()
    assert {envoy(platform), *instances(platform)} == before
    assert platform.score("house", {}, key=key).status == 200


@pytest.mark.parametrize("victim", [envoy, lambda p: min(instances(p)), worker], ids=["envoy", "scorer", "worker"])
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
def test_whatever_is_killed_is_replaced_and_nothing_of_it_is_left(
    running: tuple[Platform, str], victim: Callable[[Platform], int], *, watched: bool
) -> None:
    platform, key = running
    pid = victim(platform)
    expected = len(platform.processes())
    if not watched:
        platform.kill()
    os.kill(pid, signal.SIGKILL)
    if not watched:
        platform.start()
    platform.until(lambda: platform.score_or_none("house", key) == 200)
    whole(platform)
    platform.until(lambda: len(platform.processes()) == expected)
    assert pid not in {process.pid for process in platform.processes()}


def test_a_second_platform_on_the_same_home_is_refused(running: tuple[Platform, str]) -> None:
    platform, key = running
    before = {process.pid for process in platform.processes()}
    refused = platform.cli("up", "--home", platform.home, check=False, timeout=20)
    assert refused.returncode == 1
    assert f"a platform is already running on {platform.home}" in refused.stderr
    refused = platform.cli("up", "--detach", "--home", platform.home, check=False, timeout=20)
    assert refused.returncode == 1
    assert {process.pid for process in platform.processes()} == before
    assert platform.score("house", {}, key=key).status == 200


def is_the_control_plane(platform: Platform) -> bool:
    """`penstock up` has just become the control plane, which has imported next to nothing of itself yet."""
    return any("controlplane" in process.cmdline() for process in platform.processes())


def has_the_home(platform: Platform) -> bool:
    """It is about to import its parts, and to start them."""
    return (platform.home / "lock").exists()


def has_a_gateway(platform: Platform) -> bool:
    """Envoy runs, and is not ready yet."""
    return any(process.name() == "envoy" for process in platform.processes())


@pytest.mark.parametrize("moment", [is_the_control_plane, has_the_home, has_a_gateway])
def test_ctrl_c_while_starting_leaves_nothing(fresh_platform: Platform, moment: Callable[[Platform], bool]) -> None:
    platform = fresh_platform
    with (platform.home.parent / "up.log").open("wb") as log:
        process = subprocess.Popen(platform.up_command(), env=platform.env(), stdout=log, stderr=log)
    platform.until(lambda: moment(platform))
    process.send_signal(signal.SIGINT)
    process.wait(30)
    platform.until(lambda: platform.processes() == [])
    assert "Traceback" not in platform.log()


def test_ctrl_c_before_the_first_line_of_the_control_plane_shows_no_traceback(
    fresh_platform: Platform, tmp_path: Path
) -> None:
    platform = fresh_platform
    # An interpreter imports this while it starts, before it comes to any line of ours.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nif 'controlplane' in sys.orig_argv:\n    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    environment = platform.env() | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        platform.up_command(), check=False, env=environment, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""
    assert platform.processes() == []


def test_a_home_that_was_moved_to_a_deep_folder_serves(fresh_platform: Platform, tmp_path: Path) -> None:
    """Unix sockets have short names; a home may lie anywhere."""
    platform = fresh_platform
    platform.home = platform.home.parent / ("deep" * 20) / ("er" * 30) / "home"
    platform.home.parent.mkdir(parents=True)
    platform.start()
    key = serve(platform, tmp_path, "house", "blue")
    assert platform.score("house", {}, key=key).status == 200
