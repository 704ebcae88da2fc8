"""Starting and stopping a platform on this machine, with a stand-in for the control plane."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import machine as machine_module
from penstock.cli.console import Console
from penstock.cli.context import Context
from penstock.cli.machine import Machine
from penstock.cli.main import main
from penstock.daemon import StubbornError
from penstock.errors import PlatformError
from penstock.settings import PlatformFile, Settings

pytestmark = pytest.mark.integration
STAND_IN = Path(__file__).with_name("fake_controlplane.py")
SWEEP = [sys.executable, "-c", "import os, pathlib; pathlib.Path(os.environ['PENSTOCK_HOME'], 'swept').touch()"]


class Platform:
    """A home, and what was said while something was done to it."""

    def __init__(self, home: Path) -> None:
        self.machine = Machine(home)
        self.home = home
        self.environment = {**os.environ, "PENSTOCK_HOME": str(home)}
        self.said: list[str] = []

    def up(self, mode: str = "works") -> PlatformFile:
        self.machine.check_free(*free_ports())
        return self.machine.start(
            [sys.executable, str(STAND_IN), "controlplane", mode], self.environment, self.said.append
        )

    def down(self) -> bool:
        return self.machine.stop(SWEEP, self.environment, self.said.append)

    @property
    def swept(self) -> bool:
        return (self.home / "swept").exists()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path / "home")
    yield made
    made.down()


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def test_up_returns_once_it_is_ready_and_down_ends_it(platform: Platform) -> None:
    ready = platform.up()
    assert platform.machine.running() == ready
    assert (platform.home / "logs").stat().st_mode & 0o777 == 0o700
    assert platform.down()
    assert platform.machine.running() is None
    assert not platform.swept, "after a clean end there is nothing to look for"
    assert not Path(f"/proc/{ready.pid}").exists()


def test_a_second_up_on_the_same_home_is_refused(platform: Platform) -> None:
    ready = platform.up()
    with pytest.raises(PlatformError, match=f"already running on .* \\(process {ready.pid}\\)") as caught:
        platform.up()
    assert "penstock down" in caught.value.hint


def test_after_kill_9_the_rest_is_swept_and_up_works_again(platform: Platform) -> None:
    os.kill(platform.up().pid, signal.SIGKILL)
    platform.machine._daemon.wait(10)
    assert platform.machine.running() is None
    platform.down()
    assert platform.swept
    platform.up()


def test_a_control_plane_that_is_gone_without_a_word_is_told_apart(platform: Platform) -> None:
    assert not platform.machine.lost()
    ready = platform.up()
    assert not platform.machine.lost()
    os.kill(ready.pid, signal.SIGKILL)
    platform.machine._daemon.wait(10)
    assert platform.machine.lost()
    context = Context(Console(sys.stderr), Settings(home=platform.home))
    with pytest.raises(PlatformError, match="has ended unexpectedly; what served goes on serving"):
        assert context.client


def test_a_home_shared_with_another_process_number_space_is_not_taken_for_lost(platform: Platform) -> None:
    platform.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        told = {"api": f"127.0.0.1:{elsewhere.getsockname()[1]}", "gateway": "http://localhost:1", "pid": os.getpid()}
        (platform.home / "platform.json").write_text(json.dumps(told))
        assert not platform.machine.lost()
    (platform.home / "platform.json").unlink()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--gateway-port", "9001", "--api-port", "9001"), "--gateway-port and --api-port are both 9001"),
        (("--tls-dev", "--tls-port", "50051"), "--api-port and --tls-port are both 50051"),
    ],
)
def test_one_port_for_two_things(platform: Platform, flags: tuple[str, ...], says: str, capsys: Any) -> None:
    assert main(["up", "--home", str(platform.home), *flags]) == 2
    assert f"error: {says}, and each needs a port of its own" in capsys.readouterr().err
    assert not platform.home.exists()


def test_ports_come_from_the_environment_where_no_flag_says_otherwise(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    gateway, api = free_ports()
    monkeypatch.setenv("PENSTOCK_GATEWAY_PORT", str(gateway))
    monkeypatch.setenv("PENSTOCK_API_PORT", "1")
    seen: dict[str, str] = {}

    def start(machine: Machine, argv: object, environment: dict[str, str], say: object) -> PlatformFile:
        seen.update(environment)
        return PlatformFile("a", "g", 1)

    monkeypatch.setattr(Machine, "start", start)
    up = ["up", "--detach", "--home", str(platform.home)]
    assert main([*up, "--api-port", str(api)]) == 0
    assert (seen["PENSTOCK_GATEWAY_PORT"], seen["PENSTOCK_API_PORT"]) == (str(gateway), str(api))
    monkeypatch.setenv("PENSTOCK_API_PORT", "http")
    assert main(up) == 2
    assert "error: PENSTOCK_API_PORT: 'http' is no port: 1 to 65535" in capsys.readouterr().err


def test_a_port_for_tls_without_tls(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("PENSTOCK_TLS_CERT", raising=False)
    assert main(["up", "--home", str(platform.home), "--tls-port", "9443"]) == 2
    assert "error: --tls-port means nothing without" in capsys.readouterr().err


def test_down_without_a_platform(platform: Platform) -> None:
    assert not platform.down()
    assert not platform.home.exists()


def test_a_sweep_that_fails_is_told(platform: Platform) -> None:
    os.kill(platform.up().pid, signal.SIGKILL)
    platform.machine._daemon.wait(10)
    failing = [sys.executable, "-c", "import sys; sys.exit('x\\nerror: instance abc hangs in the kernel')"]
    with pytest.raises(PlatformError, match="instance abc hangs in the kernel"):
        platform.machine.stop(failing, platform.environment, platform.said.append)


def test_what_hangs_in_the_kernel_is_no_defect_of_ours(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        raise StubbornError([4711])

    with monkeypatch.context() as patched:
        patched.setattr(platform.machine._daemon, "kill", hang)
        with pytest.raises(PlatformError, match="SIGKILL did not end process 4711: it hangs in the kernel") as caught:
            platform.down()
    assert caught.value.hint


def test_a_control_plane_that_ends_tells_why(platform: Platform) -> None:
    with pytest.raises(PlatformError, match=r"the disk is full \(free some space\)$") as caught:
        platform.up("dies")
    assert caught.value.detail == ""


def test_a_control_plane_that_crashes_shows_the_end_of_its_log(platform: Platform) -> None:
    for _ in range(2):
        with pytest.raises(PlatformError, match="the control plane ended while it started") as caught:
            platform.up("crashes")
        assert caught.value.detail.count("RuntimeError: a defect") == 1, "the log of this start alone"


def test_one_that_is_not_ready_in_time_is_stopped(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "START_SECONDS", 0.2)
    monkeypatch.setattr(machine_module, "STOP_SECONDS", 0.2)
    with pytest.raises(PlatformError, match="not ready within"):
        platform.up("hangs")
    assert platform.machine.running() is None
    assert platform.machine._nothing_runs()


def test_an_interrupted_up_leaves_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine_module, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(
        platform, "said", type("Interrupting", (list,), {"append": lambda self, text: interrupt(text)})()
    )
    with pytest.raises(KeyboardInterrupt):
        platform.up("hangs")
    assert platform.machine._nothing_runs()
    platform.said = []


@pytest.mark.parametrize(("index", "flag"), [(0, "--gateway-port"), (1, "--api-port")])
def test_a_port_in_use_is_one_sentence(platform: Platform, index: int, flag: str) -> None:
    ports = list(free_ports())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports[index] = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=f"port {ports[index]} is in use by another program") as caught:
            platform.machine.check_free(*ports)
    assert caught.value.hint == f"{flag} names another"


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="cannot be used: Not a directory"):
        Machine(tmp_path / "file" / "home").check_free(*free_ports())


def test_a_number_that_another_process_got_is_no_platform(platform: Platform) -> None:
    platform.home.mkdir()
    (platform.home / "platform.json").write_text(f'{{"api": "x", "gateway": "y", "pid": {os.getpid()}}}')
    assert platform.machine.running() is None
    platform.down()
    assert platform.swept
