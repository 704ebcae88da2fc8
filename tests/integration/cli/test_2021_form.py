"""The 2021 single-file form, as a user types it: ``penstock endpoint``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.rpc import code_pb2

from tests.integration.cli.conftest import ENDPOINT_2021, Ran
from tests.integration.cli.fake_platform import FakePlatform, status_of

pytestmark = pytest.mark.integration
Cli = Callable[..., Ran]


@pytest.fixture
def made(cli: Cli, project: Path) -> Ran:
    return cli("endpoint", "create", "-f", "endpoint-2021.yml")


def test_one_file_makes_endpoint_deployments_and_traffic(cli: Cli, made: Ran) -> None:
    assert made.code == 0
    shown = made.json()
    assert shown["traffic"] == {"blue": 100}
    assert shown["swagger_uri"] == shown["openapi_uri"]
    assert [d["model"] for d in shown["deployments"]] == ["azureml:diabetes-model:1"]
    assert shown["location"] == "westeurope"
    assert made.err.startswith("note: endpoint-2021.yml: kept to be shown again")


def test_a_failing_deployment_leaves_nothing(
    cli: Cli, project: Path, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = status_of(code_pb2.ABORTED, "InitFailed", "init() failed", detail="Traceback")
    original = platform.operation

    def operation(target: str, verb: str, *rest: object) -> object:
        if verb == "create" and "/deployments/" in target:
            platform.fail.append(failure)
        return original(target, verb, *rest)

    monkeypatch.setattr(platform, "operation", operation)
    ran = cli("endpoint", "create", "-f", "endpoint-2021.yml")
    assert (ran.code, ran.out) == (1, "")
    assert "error: init() failed\n" in ran.err
    assert "removed again" in ran.err
    assert not platform.endpoints
    assert not platform.deployments


def test_update_by_flags(cli: Cli, made: Ran, project: Path) -> None:
    assert cli("endpoint", "update", "-n", "diabetes", "-d", "blue", "-i", 2).code == 0
    assert cli("endpoint", "update", "-n", "diabetes", "-e", "green.yml").code == 0
    ran = cli("endpoint", "update", "-n", "diabetes", "-r", "blue:90,green:10")
    assert ran.json()["traffic"] == {"blue": 90, "green": 10}
    assert [d["instance_count"] for d in ran.json()["deployments"]] == [2, 1]


def test_update_with_the_same_file_changes_nothing(cli: Cli, made: Ran, platform: FakePlatform) -> None:
    platform.calls.clear()
    ran = cli("endpoint", "update", "-f", "endpoint-2021.yml")
    assert "already is what the file says" in ran.err
    assert not [c for c in platform.calls if c.startswith(("Update", "Create", "Delete"))]


def test_update_with_one_kind_of_change(cli: Cli, made: Ran, project: Path) -> None:
    (project / "endpoint-2021.yml").write_text(ENDPOINT_2021.replace("instance_count: 1", "instance_count: 2"))
    assert cli("endpoint", "update", "-f", "endpoint-2021.yml").json()["deployments"][0]["instance_count"] == 2


def test_update_with_two_kinds_of_change_is_refused(cli: Cli, made: Ran, project: Path) -> None:
    text = ENDPOINT_2021.replace("instance_count: 1", "instance_count: 2").replace("blue: 100", "blue: 0")
    (project / "endpoint-2021.yml").write_text(text)
    ran = cli("endpoint", "update", "-f", "endpoint-2021.yml")
    assert (ran.code, ran.out) == (1, "")
    assert "the file changes traffic and scale settings" in ran.err
    assert cli("endpoint", "show", "-n", "diabetes").json()["traffic"] == {"blue": 100}


def test_a_deployment_missing_from_the_file_is_deleted(cli: Cli, made: Ran) -> None:
    cli("endpoint", "update", "-n", "diabetes", "-e", "green.yml")
    ran = cli("endpoint", "update", "-f", "endpoint-2021.yml")
    assert [d["name"] for d in ran.json()["deployments"]] == ["blue"]


def test_the_current_verbs_name_the_other_form(cli: Cli, project: Path) -> None:
    ran = cli("online-endpoint", "create", "-f", "endpoint-2021.yml")
    assert ran.code == 2
    assert "penstock endpoint create -f endpoint-2021.yml" in ran.err


def test_the_current_update_takes_no_traffic_away(cli: Cli, made: Ran) -> None:
    ran = cli("online-endpoint", "update", "-f", "endpoint-2021.yml")
    assert ran.code == 2
    assert "penstock endpoint update -f endpoint-2021.yml" in ran.err
    assert cli("endpoint", "show", "-n", "diabetes").json()["traffic"] == {"blue": 100}


def test_mirrored_traffic_and_labels_of_the_file_count(cli: Cli, made: Ran, project: Path) -> None:
    both = ENDPOINT_2021 + "  - name: green\n" + ENDPOINT_2021.partition("- name: blue\n")[2]
    path = project / "endpoint-2021.yml"
    path.write_text(both)
    assert cli("endpoint", "update", "-f", path).code == 0
    path.write_text(both.replace("traffic:\n", "mirror_traffic: {green: 10}\ntraffic:\n"))
    assert cli("endpoint", "update", "-f", path).json()["mirror_traffic"] == {"green": 10}
    path.write_text(path.read_text().replace("westeurope", "northeurope"))
    assert cli("endpoint", "update", "-f", path).json()["location"] == "northeurope"
    path.write_text(path.read_text().replace("auth_mode: key", "auth_mode: aml_token"))
    assert "`auth_mode` cannot be changed" in cli("endpoint", "update", "-f", path).err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-f", "endpoint-2021.yml", "-r", "blue=0"), "leave --traffic out"),
        (("-f", "endpoint-2021.yml", "-d", "blue", "-i", 2), "leave --deployment, --instance-count out"),
        (("-n", "diabetes", "-r", "blue=0", "-i", 2), "--instance-count needs to know of which deployment"),
        (("-n", "diabetes", "-r", "blue=0", "--set", "tags.a=b"), "--set needs to know of which deployment"),
    ],
)
def test_no_flag_of_update_is_passed_over(cli: Cli, made: Ran, flags: tuple[object, ...], says: str) -> None:
    ran = cli("endpoint", "update", *flags)
    assert (ran.code, says in ran.err) == (2, True)
    assert cli("endpoint", "show", "-n", "diabetes").json()["traffic"] == {"blue": 100}


def test_the_count_beside_a_deployments_file(cli: Cli, made: Ran) -> None:
    ran = cli("endpoint", "update", "-n", "diabetes", "-e", "green.yml", "-i", 3)
    assert {d["name"]: d["instance_count"] for d in ran.json()["deployments"]} == {"blue": 1, "green": 3}


def test_show_logs_keys_and_delete(cli: Cli, made: Ran) -> None:
    assert cli("endpoint", "show", "-n", "diabetes", "-d", "blue").json()["name"] == "blue"
    assert cli("endpoint", "get-logs", "-n", "diabetes", "-d", "blue").out == "line one\nline two\n"
    assert cli("endpoint", "list-keys", "-n", "diabetes").json()["primaryKey"]
    assert [e["name"] for e in cli("endpoint", "list").json()] == ["diabetes"]
    assert cli("endpoint", "delete", "-n", "diabetes", "--yes").code == 0
