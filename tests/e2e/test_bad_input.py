"""Every mistake ends in one clear sentence and a non-zero exit code, changes nothing, and costs nobody a request.

One platform with one endpoint that serves is behind all of these; after each the platform lists what it listed before
and the endpoint serves what it served.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock import Client
from tests.e2e.files import SCORE, deployment_yaml, endpoint_yaml, serve, written
from tests.e2e.platform import Platform, new_platform, remove
from tests.support.ports import free_port

WAY_TOO_LONG = 60.0
"""Seconds; a mistake is told of long before."""


@dataclass
class House:
    """A platform that serves, and how to make mistakes on it."""

    platform: Platform
    client: Client
    key: str
    folder: Path

    def refuse(self, *arguments: str | Path, says: str, exit_code: int = 1) -> str:
        """Run a command that must fail with a sentence that matches ``says``, and change nothing; its stderr."""
        before = self.everything()
        done = self.platform.cli(*arguments, check=False, timeout=WAY_TOO_LONG)
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert done.stdout == ""
        assert re.search(says, done.stderr, re.MULTILINE), f"{says!r} is not in:\n{done.stderr}"
        assert "Traceback" not in done.stderr.replace("  | Traceback", ""), done.stderr
        assert len(re.findall("^error: ", done.stderr, re.MULTILINE)) == 1, done.stderr
        self.platform.until(lambda: self.everything() == before)
        self.serves()
        return done.stderr

    def refuse_deployment(self, name: str, *, says: str, score: str = SCORE, **others: Any) -> str:
        """Create a deployment that must fail."""
        path = deployment_yaml(self.folder, "house", name, score=score, **others)
        return self.refuse("online-deployment", "create", "-f", path, says=says)

    def everything(self) -> Any:
        """All that the platform lists, and what runs."""
        endpoints, deployments = self.client.endpoints.list(), self.client.deployments.list()
        return [m.SerializeToString() for m in (*endpoints, *deployments)], len(self.platform.processes())

    def serves(self) -> None:
        answer = self.platform.score("house", {}, key=self.key)
        assert (answer.status, answer.json()["deployment"]) == (200, "blue")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Client, str]]:
    platform = new_platform()
    try:
        platform.start()
        key = serve(platform, tmp_path_factory.mktemp("files"), "house", "blue")
        with platform.client() as client:
            yield platform, client, key
    finally:
        platform.destroy()
        remove(platform)


@pytest.fixture
def house(running: tuple[Platform, Client, str], tmp_path: Path) -> House:
    return House(*running, tmp_path)


def test_a_misspelt_key_names_the_place_and_the_nearest_key(house: House) -> None:
    path = written(house.folder / "endpoint.yml", "name: yard\nauth_mod: key\n")
    house.refuse("online-endpoint", "create", "-f", path, says=r"endpoint\.yml:2:1: .*`auth_mod`.*`auth_mode`")


def test_a_misspelt_key_of_a_deployment_names_the_place_too(house: House) -> None:
    path = deployment_yaml(house.folder, "house", "green")
    path.write_text(path.read_text().replace("  scoring_script:", "  scorin_script:"))
    says = r"deployment\.yml:5:3: .*`scorin_script`.*`scoring_script`"
    said = house.refuse("online-deployment", "create", "-f", path, says=says)
    assert "1 mistake" in said  # the right key is misspelt, not missing besides


def test_what_is_no_yaml_names_the_place(house: House) -> None:
    path = written(house.folder / "endpoint.yml", "name: [yard\n")
    house.refuse("online-endpoint", "create", "-f", path, says=r"endpoint\.yml:2:1: ")


def test_a_missing_file(house: House) -> None:
    house.refuse("online-endpoint", "create", "-f", house.folder / "no.yml", says=r"no\.yml.*(no such|does not exist)")


def test_a_missing_model_file_names_the_line_and_the_path(house: House) -> None:
    path = deployment_yaml(house.folder, "house", "green")
    path.write_text(path.read_text() + "model:\n  path: ../model.pkl\n")
    house.refuse("online-deployment", "create", "-f", path, says=r"deployment\.yml:\d+:\d+: .*model\.pkl")


def test_a_missing_script(house: House) -> None:
    path = deployment_yaml(house.folder, "house", "green")
    path.write_text(path.read_text().replace("scoring_script: score.py", "scoring_script: scores.py"))
    house.refuse("online-deployment", "create", "-f", path, says=r"deployment\.yml:5:\d+: .*scores\.py.*score\.py")


@pytest.mark.parametrize("missing", ["init", "run"])
def test_a_script_without_init_or_run(house: House, missing: str) -> None:
    house.refuse_deployment("green", score=SCORE.replace(f"def {missing}", "def other"), says=rf"score\.py.*{missing}")


def test_a_failing_init_shows_the_users_traceback(house: House) -> None:
    score = "def init():\n    weights = {}\n    weights['bias']\n\ndef run(data):\n    return {}\n"
    said = house.refuse_deployment("green", score=score, says=r"^error: .*init\(\).*KeyError")
    assert "score.py" in said
    assert "line 3" in said
    assert "weights['bias']" in said


def test_a_script_that_does_not_compile(house: House) -> None:
    house.refuse_deployment("green", score="def init(:\n", says=r"score\.py.*(line 1|SyntaxError)")


def test_an_environment_that_cannot_be_built(house: House) -> None:
    environment = "dependencies:\n- pip:\n  - penstock-there-is-no-such-package==7.7.7\n"
    said = house.refuse_deployment("green", environment=environment, says="penstock-there-is-no-such-package")
    assert re.search("^error: .*environment", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("traffic", "says"),
    [
        ("blue=90", r"sum.*100.*90|90.*sum|100"),
        ("blue=90 green=10", r"'?green'?.*does not exist|no deployment.*green|green.*deployments are: blue"),
    ],
)
def test_traffic_that_is_no_split(house: House, traffic: str, says: str) -> None:
    house.refuse("online-endpoint", "update", "-n", "house", "--traffic", traffic, says=f"^error: .*({says})")


@pytest.mark.parametrize("share", ["blue=many", "blue=101", "blue=-1", "blue=60 blue=40"])
def test_traffic_that_cannot_be_read(house: House, share: str) -> None:
    done = house.platform.cli("online-endpoint", "update", "-n", "house", "--traffic", share, check=False)
    assert done.returncode == 2
    assert "'blue' is given" in done.stderr
    house.serves()


def test_an_endpoint_that_exists(house: House) -> None:
    path = endpoint_yaml(house.folder, "house")
    house.refuse("online-endpoint", "create", "-f", path, says="^error: .*'house'.*already")


def test_a_deployment_that_exists(house: House) -> None:
    house.refuse_deployment("blue", says="^error: .*already.*'blue'|'blue'.*already")


def test_a_deployment_of_an_endpoint_that_does_not_exist(house: House) -> None:
    path = deployment_yaml(house.folder, "barn", "blue")
    house.refuse("online-deployment", "create", "-f", path, says="^error: .*no endpoint 'barn'")


def test_a_name_that_is_none(house: House) -> None:
    path = written(house.folder / "endpoint.yml", "name: my_house\n")
    house.refuse("online-endpoint", "create", "-f", path, says=r"endpoint\.yml:1:\d+: .*my_house")


def test_deleting_a_deployment_that_has_traffic(house: House) -> None:
    arguments = ["online-deployment", "delete", "-n", "blue", "-e", "house", "--yes"]
    house.refuse(*arguments, says="^error: .*'blue'.*traffic(.|\n)*0")


@pytest.mark.parametrize("key", [None, "", "wrong", "x" * 10_000])
def test_a_missing_malformed_or_wrong_key(house: House, key: str | None) -> None:
    answer = house.platform.score("house", {}, key=key)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/json")
    assert set(answer.json()["error"]) >= {"code", "message"}
    house.serves()


def test_an_unknown_endpoint(house: House) -> None:
    answer = house.platform.score("barn", {}, key=house.key)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert set(answer.json()["error"]) >= {"code", "message"}


def test_invoking_an_endpoint_that_does_not_exist(house: House) -> None:
    request = written(house.folder / "request.json", "{}")
    house.refuse("online-endpoint", "invoke", "-n", "barn", "-r", request, says="^error: .*no endpoint 'barn'")


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
@pytest.mark.parametrize("flag", ["--gateway-port", "--api-port"])
def test_a_port_in_use(house: House, flag: str, detach: list[str]) -> None:
    other = new_platform()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = str(holder.getsockname()[1])
        ports = {"--gateway-port": str(free_port()), "--api-port": str(free_port())} | {flag: taken}
        words = [word for pair in ports.items() for word in pair]
        try:
            done = other.cli("up", "--home", other.home, *words, *detach, check=False, timeout=WAY_TOO_LONG)
            assert done.returncode == 1
            assert re.search(f"^error: .*{taken}", done.stderr, re.MULTILINE), done.stderr
            assert flag in done.stderr
            assert other.processes() == []
        finally:
            other.destroy()
            remove(other)


def test_a_port_of_another_platform(house: House) -> None:
    """Envoy shares its port with whoever else asks for it in the same way: two platforms must not."""
    other = new_platform()
    words = ["--gateway-port", str(house.platform.gateway_port), "--api-port", str(free_port())]
    try:
        done = other.cli("up", "--home", other.home, *words, check=False, timeout=WAY_TOO_LONG)
        assert done.returncode == 1
        assert f"port {house.platform.gateway_port} is in use" in done.stderr
    finally:
        other.destroy()
        remove(other)
    house.serves()


def test_no_platform_runs(tmp_path: Path) -> None:
    nowhere = new_platform()
    done = nowhere.cli("online-endpoint", "list", check=False)
    assert done.returncode == 1
    assert "penstock up" in done.stderr
    assert not nowhere.home.exists()
    remove(nowhere)
