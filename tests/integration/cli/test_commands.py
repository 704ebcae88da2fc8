"""The command line as a user types it, against a control plane in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from google.rpc import code_pb2
from ruamel.yaml import YAML

from penstock.v1 import common_pb2
from tests.integration.cli.conftest import Ran
from tests.integration.cli.fake_platform import FakePlatform, status_of

pytestmark = pytest.mark.integration
Cli = Callable[..., Ran]


@pytest.fixture
def blue(cli: Cli, project: Path) -> None:
    """An endpoint with a deployment that has all of its traffic."""
    assert cli("online-endpoint", "create", "-f", "endpoint.yml").code == 0
    assert cli("online-deployment", "create", "-f", "blue.yml", "--all-traffic").code == 0


def test_the_version(cli: Cli) -> None:
    assert cli("--version") == Ran(0, f"penstock {version('penstock')}\n", "")


def test_an_endpoint_has_the_fields_that_scripts_read(cli: Cli, project: Path) -> None:
    ran = cli("online-endpoint", "create", "-f", "endpoint.yml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json() == {
        "id": "endpoints/diabetes",
        "name": "diabetes",
        "auth_mode": "key",
        "kind": "Managed",
        "provisioning_state": "Succeeded",
        "scoring_uri": "http://localhost:8080/endpoints/diabetes/score",
        "openapi_uri": "http://localhost:8080/endpoints/diabetes/swagger.json",
        "traffic": {},
        "mirror_traffic": {},
        "description": "",
        "tags": {"team": "a"},
        "properties": {},
        "status_message": "",
        "conditions": [],
    }


def test_a_deployment_has_the_fields_that_scripts_read(cli: Cli, blue: None) -> None:
    shown = cli("online-deployment", "show", "-e", "diabetes", "-n", "blue").json()
    assert shown["provisioning_state"] == "Succeeded"
    assert shown["endpoint_name"] == "diabetes"
    assert shown["model"].startswith("azureml:anonymous:")
    assert shown["code_configuration"]["scoring_script"] == "score.py"
    assert shown["instance_count"] == 1
    assert shown["request_settings"] == {
        "request_timeout_ms": 5000,
        "max_concurrent_requests_per_instance": 1,
        "max_queue_wait_ms": 500,
    }
    assert shown["liveness_probe"]["failure_threshold"] == 30


def test_traffic_is_split_and_deployments_without_it_show_0(cli: Cli, blue: None) -> None:
    cli("online-deployment", "create", "-f", "green.yml")
    assert cli("online-endpoint", "show", "-n", "diabetes", "--query", "traffic").json() == {"blue": 100, "green": 0}
    ran = cli("online-endpoint", "update", "-n", "diabetes", "--traffic", "blue=90 green=10")
    assert (ran.code, ran.json()["traffic"]) == (0, {"blue": 90, "green": 10})
    assert cli("online-endpoint", "list", "--query", "[].traffic").json() == [{"blue": 90, "green": 10}]


def test_long_flags_match_by_prefix(cli: Cli, blue: None) -> None:
    assert cli("online-deployment", "show", "--endpoint", "diabetes", "--na", "blue").code == 0


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("table", "Name      State      Traffic   ScoringUri\n"),
        ("tsv", "endpoints/diabetes\tdiabetes\tkey\tManaged\tSucceeded"),
        ("yaml", "name: diabetes\n"),
    ],
)
def test_output_formats(cli: Cli, blue: None, format_: str, expected: str) -> None:
    assert expected in cli("online-endpoint", "list", "-o", format_).out


def test_yaml_output_loads_again(cli: Cli, blue: None) -> None:
    shown = cli("online-endpoint", "show", "-n", "diabetes")
    loaded = YAML(typ="safe").load(io.StringIO(cli("online-endpoint", "show", "-n", "diabetes", "-o", "yaml").out))
    assert loaded == shown.json()


def test_a_query_as_tsv_is_the_bare_value(cli: Cli, blue: None) -> None:
    ran = cli("online-endpoint", "show", "-n", "diabetes", "--query", "scoring_uri", "-o", "tsv")
    assert ran.out == "http://localhost:8080/endpoints/diabetes/score\n"


@pytest.mark.parametrize("query", ["traffic[", "a..b", "'", "nofunction(@)"])
def test_a_query_that_is_none_is_told_before_anything_is_done(cli: Cli, blue: None, query: str) -> None:
    ran = cli("online-endpoint", "create", "-n", "other", "--query", query)
    assert (ran.code, ran.out) == (2, "")
    assert f"argument --query: '{query}' is no JMESPath: " in ran.err.splitlines()[-1]
    assert cli("online-endpoint", "list", "--query", "[].name").json() == ["diabetes"]


def test_a_query_that_the_answer_does_not_fit(cli: Cli, blue: None) -> None:
    ran = cli("online-endpoint", "show", "-n", "diabetes", "--query", "abs(name)")
    assert (ran.code, ran.out) == (1, "")
    assert "--query fails on the answer" in ran.err


def test_a_condition_tells_since_when(cli: Cli, blue: None, platform: FakePlatform) -> None:
    condition = platform.deployments["endpoints/diabetes/deployments/blue"].conditions.add(type="InstancesReady")
    shown = cli("online-deployment", "show", "-n", "blue", "-e", "diabetes").json()["conditions"]
    assert shown[-1]["last_transition_time"] is None
    condition.last_transition_time.FromJsonString("2026-11-21T07:00:00.5Z")
    shown = cli("online-deployment", "show", "-n", "blue", "-e", "diabetes").json()["conditions"]
    assert shown[-1]["last_transition_time"] == "2026-11-21T07:00:00Z"


def test_credentials_and_their_renewal(cli: Cli, blue: None) -> None:
    before = cli("online-endpoint", "get-credentials", "-n", "diabetes").json()
    assert before == {"primaryKey": "primary-key-0123456", "secondaryKey": "secondary-key-0123"}
    after = cli("online-endpoint", "regenerate-keys", "-n", "diabetes", "--key-type", "secondary").json()
    assert after == before | {"secondaryKey": "regenerated-key-0123"}


def test_a_token_and_its_end(cli: Cli, project: Path) -> None:
    cli("online-endpoint", "create", "-n", "signed", "--auth-mode", "aml_token")
    shown = cli("online-endpoint", "get-credentials", "-n", "signed").json()
    assert shown == {
        "accessToken": "header.claims.0",
        "expiryTimeUtc": 2_000_000_000,
        "refreshAfterTimeUtc": 1_999_999_000,
        "tokenType": "Bearer",
    }
    assert cli("endpoint", "get-credentials", "-n", "signed").json() == shown
    renewed = cli("online-endpoint", "regenerate-keys", "-n", "signed").json()
    assert renewed == shown | {"accessToken": "header.claims.1"}
    ran = cli("online-endpoint", "regenerate-keys", "-n", "signed", "--key-value", "a-key-of-my-own-1")
    assert (ran.code, ran.err) == (2, "error: 'signed' takes tokens, which cannot be chosen: leave --key-value out\n")
    ran = cli("online-endpoint", "regenerate-keys", "-n", "signed", "--key-type", "secondary")
    assert (ran.code, ran.err) == (2, "error: 'signed' takes tokens, which cannot be chosen: leave --key-type out\n")


def test_create_of_what_is_there_fails(cli: Cli, blue: None, platform: FakePlatform) -> None:
    ran = cli("online-endpoint", "create", "-f", "endpoint.yml")
    assert (ran.code, ran.out) == (1, "")
    uploads = platform.calls.count("UploadAsset")
    ran = cli("online-deployment", "create", "-f", "blue.yml")
    assert (ran.code, ran.out) == (1, "")
    assert "error: 'diabetes' already has a deployment 'blue'" in ran.err
    assert platform.calls.count("UploadAsset") == uploads


def test_a_deployment_of_no_endpoint(cli: Cli, project: Path, platform: FakePlatform) -> None:
    ran = cli("online-deployment", "create", "-f", "blue.yml")
    assert (ran.code, ran.err) == (1, "error: there is no endpoint 'diabetes'\n")
    assert "UploadAsset" not in platform.calls


def test_a_deployment_that_cannot_answer_shows_the_traceback_and_does_not_stay(
    cli: Cli, blue: None, platform: FakePlatform
) -> None:
    traceback = "Traceback (most recent call last):\n  ...\nKeyError: 'x'"
    platform.fail.append(status_of(code_pb2.ABORTED, "InitFailed", "init() failed: KeyError: 'x'", detail=traceback))
    ran = cli("online-deployment", "create", "-f", "green.yml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: init() failed: KeyError: 'x'\n"
        "hint: the deployment was removed again; with --keep-failed it stays, and its logs with it\n"
        "  | Traceback (most recent call last):\n  |   ...\n  | KeyError: 'x'\n"
    )
    assert list(platform.deployments) == ["endpoints/diabetes/deployments/blue"]
    assert platform.endpoints["endpoints/diabetes"].traffic == {"blue": 100}


def test_a_failed_deployment_stays_when_asked(cli: Cli, blue: None, platform: FakePlatform) -> None:
    platform.fail.append(status_of(code_pb2.ABORTED, "InitFailed", "init() failed"))
    ran = cli("online-deployment", "create", "-f", "green.yml", "--keep-failed")
    assert ran.code == 1
    assert "get-logs -e diabetes -n green" in ran.err
    assert "endpoints/diabetes/deployments/green" in platform.deployments


def test_what_differs_in_the_environment_is_noted(cli: Cli, blue: None, platform: FakePlatform) -> None:
    difference = "the environment differs: python 3.8 -> 3.10 (3.8 is too old for the scorer)"
    platform.conditions = [
        common_pb2.Condition(
            type="EnvironmentReady", status=common_pb2.CONDITION_STATUS_TRUE, reason="Differs", message=difference
        )
    ]
    assert cli("online-deployment", "create", "-f", "green.yml").err == f"note: {difference}\n"
    assert cli("online-deployment", "delete", "-e", "diabetes", "-n", "green", "--yes").code == 0
    assert cli("online-deployment", "create", "-f", "green.yml", "--only-show-errors").err == ""


def test_all_traffic_and_no_wait_contradict_each_other(cli: Cli, blue: None) -> None:
    assert cli("online-deployment", "create", "-f", "green.yml", "--all-traffic", "--no-wait").code == 2


def test_set_overrides_the_file(cli: Cli, blue: None) -> None:
    ran = cli(
        "online-deployment", "create", "-f", "green.yml", "--set", "instance_count=3", "tags.a=b", "--set", "tags.c=d"
    )
    assert (ran.json()["instance_count"], ran.json()["tags"]) == (3, {"a": "b", "c": "d"})


def test_set_of_an_unknown_key_is_a_mistake(cli: Cli, blue: None) -> None:
    ran = cli("online-deployment", "create", "-f", "green.yml", "--set", "instance_cuont=3")
    assert (ran.code, ran.out) == (1, "")
    assert "unknown key `instance_cuont` (did you mean `instance_count`?)" in ran.err


def test_update_without_a_file_changes_only_what_is_named(cli: Cli, blue: None, platform: FakePlatform) -> None:
    before = cli("online-deployment", "show", "-e", "diabetes", "-n", "blue").json()
    ran = cli("online-deployment", "update", "-e", "diabetes", "-n", "blue", "--set", "instance_count=2")
    assert ran.code == 0
    assert ran.json() == before | {"instance_count": 2}
    assert cli("online-deployment", "update", "-e", "diabetes", "-n", "blue", "-i", 3).json()["instance_count"] == 3
    ran = cli("online-endpoint", "update", "-n", "diabetes", "--set", "tags.owner=x")
    assert ran.json()["tags"] == {"team": "a", "owner": "x"}
    assert ran.json()["traffic"] == {"blue": 100}


def test_what_set_names_is_changed_or_refused(cli: Cli, blue: None) -> None:
    deployment = ("online-deployment", "update", "-e", "diabetes", "-n", "blue", "--set")
    assert cli(*deployment, "strict_environment=true").json()["strict_environment"] is True
    assert cli(*deployment, "model_mount_path=/models").json()["model_mount_path"] == "/models"
    assert cli(*deployment, "location=west").json()["location"] == "west"
    shown = cli(*deployment, "app_insights_enabled=true").json()
    assert (shown["location"], shown["app_insights_enabled"], shown["strict_environment"]) == ("west", True, True)
    assert cli(*deployment, "endpoint_name=other").code == 2
    endpoint = ("online-endpoint", "update", "-n", "diabetes", "--set")
    assert cli(*endpoint, "location=west").json()["location"] == "west"
    assert cli(*endpoint, "tags.a=b").json()["location"] == "west"
    assert cli(*endpoint, "name=other").code == 2
    assert "auth_mode cannot be changed" in cli(*endpoint, "auth_mode=aml_token").err


def test_set_on_an_endpoint_that_takes_tokens(cli: Cli, project: Path) -> None:
    cli("online-endpoint", "create", "-n", "signed", "--auth-mode", "aml_token")
    ran = cli("online-endpoint", "update", "-n", "signed", "--set", "description=x")
    assert (ran.code, ran.json()["description"], ran.json()["auth_mode"]) == (0, "x", "aml_token")


def test_update_with_a_file(cli: Cli, blue: None, project: Path) -> None:
    (project / "blue.yml").write_text((project / "blue.yml").read_text().replace("count: 1", "count: 4"))
    assert cli("online-deployment", "update", "-f", "blue.yml").json()["instance_count"] == 4


def test_update_of_nothing(cli: Cli, blue: None) -> None:
    assert cli("online-deployment", "update", "-e", "diabetes", "-n", "blue").code == 2
    assert cli("online-endpoint", "update", "-n", "diabetes").code == 2
    assert cli("online-endpoint", "update", "--traffic", "blue=100").code == 2


def test_asking_for_what_is_there_already_is_no_mistake(cli: Cli, blue: None) -> None:
    deployment = ("-n", "blue", "-e", "diabetes")
    assert cli("online-deployment", "update", *deployment, "-i", 1).json()["instance_count"] == 1
    assert cli("online-endpoint", "update", "-n", "diabetes", "--set", "tags.team=a").json()["tags"] == {"team": "a"}
    assert cli("endpoint", "update", "-n", "diabetes", "-d", "blue", "-i", 1).code == 0


@pytest.mark.parametrize("shares", ["blue=50", "blue=100 gren=0", "blue"])
def test_traffic_that_makes_no_sense_changes_nothing(cli: Cli, blue: None, shares: str) -> None:
    ran = cli("online-endpoint", "update", "-n", "diabetes", "--traffic", shares)
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert cli("online-endpoint", "show", "-n", "diabetes", "--query", "traffic").json() == {"blue": 100}


def test_a_deployment_with_live_traffic_is_not_deleted(cli: Cli, blue: None) -> None:
    ran = cli("online-deployment", "delete", "-e", "diabetes", "-n", "blue", "--yes")
    assert ran.code == 1
    assert "error: 'blue' receives live traffic" in ran.err
    assert "hint: set its traffic to 0 first" in ran.err


def test_deleting_asks_and_nobody_answers(cli: Cli, blue: None) -> None:
    ran = cli("online-endpoint", "delete", "-n", "diabetes")
    assert ran.code == 1
    assert "hint: say --yes" in ran.err
    assert cli("online-endpoint", "delete", "-n", "diabetes", "--yes").code == 0
    assert cli("online-endpoint", "list").json() == []


def test_logs_go_to_stdout_as_they_are(cli: Cli, blue: None) -> None:
    ran = cli("online-deployment", "get-logs", "-e", "diabetes", "-n", "blue", "-l", "1")
    assert (ran.out, ran.err) == ("line two\n", "instance abc:\n")


def test_a_wrong_token_is_one_sentence(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "wrong")
    ran = cli("online-endpoint", "list")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "error: the admin token is missing or wrong")


def test_an_interrupted_wait_says_that_the_change_goes_on(
    cli: Cli, project: Path, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.waits = 5

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("penstock.blocking.transport.Transport.sleep", interrupt)
    ran = cli("online-endpoint", "create", "-f", "endpoint.yml")
    assert ran.code == 130
    assert "note: creating endpoint 'diabetes' goes on (operations/1)" in ran.err


def test_azure_flags_without_a_meaning_are_taken_with_a_note(cli: Cli, project: Path) -> None:
    ran = cli("online-endpoint", "create", "-f", "endpoint.yml", "-g", "rg", "-w", "ws")
    assert (ran.code, ran.err) == (0, "note: --resource-group, --workspace-name and --subscription mean nothing here\n")


def test_an_unknown_verb_gets_the_nearest(cli: Cli, project: Path) -> None:
    ran = cli("online-endpoint", "creat")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no 'creat': did you mean 'create'?" in ran.err


def test_models_are_registered_listed_and_deleted(cli: Cli, project: Path) -> None:
    assert cli("model", "create", "-n", "m", "-p", "model.pkl").json()["version"] == "1"
    (project / "model.pkl").write_bytes(b"other")
    assert cli("model", "create", "-n", "m", "-p", "model.pkl").json()["version"] == "2"
    assert cli("model", "list", "-n", "m", "--query", "[].version").json() == ["1", "2"]
    assert cli("model", "delete", "-n", "m", "-v", "1", "-y").code == 0
    ran = cli("model", "show", "-n", "m", "-v", "1")
    assert (ran.code, ran.out) == (1, "")


def test_environments_are_registered(cli: Cli, project: Path) -> None:
    ran = cli("environment", "create", "-n", "e", "-c", "conda.yml")
    assert ran.json()["conda_file"] == "dependencies:\n  - python=3.11\n"
    assert cli("environment", "show", "-n", "e").json()["version"] == "1"
    assert cli("environment", "list", "-o", "table").out.splitlines()[0].split() == [
        "Name",
        "Version",
        "Image",
        "Description",
    ]


def test_metrics_as_data(cli: Cli, blue: None) -> None:
    shown = cli("online-endpoint", "metrics", "-n", "diabetes").json()
    (deployment,) = shown["deployments"]
    assert (shown["name"], shown["gateways_reporting"], deployment["name"]) == ("diabetes", 1, "blue")
    assert deployment["requests_per_minute"] == 90.0
    assert (deployment["latency_ms"]["p50"], deployment["latency_ms"]["p99"]) == (1.235, 9)
    assert deployment["outcomes"][1] == {
        "status_code": 424,
        "model_status_code": 500,
        "requests_per_minute": 0,
        "total": 1,
    }
    assert (deployment["requests_in_progress"], deployment["capacity"]) == (4, {"Ready": 1})
    assert deployment["instances"][0]["cpu_percent"] is None
    assert deployment["instances"][0]["memory_bytes"] == 0
    assert shown["refused"]["latency_ms"] is None
    assert shown["refused"]["outcomes"][0]["model_status_code"] is None


def test_metrics_as_a_table(cli: Cli, blue: None) -> None:
    ran = cli("online-endpoint", "metrics", "-n", "diabetes", "-o", "table")
    title, _, row = ran.out.splitlines()
    assert title.split() == ["Deployment", "Req/min", "P50ms", "P90ms", "P95ms", "P99ms", "Running", "Instances",
                             "Statuses"]  # fmt: skip
    assert row.split() == ["blue", "90.0", "1.235", "0.0", "0.0", "9.0", "4", "Ready=1", "200=80", "424=3"]
    assert "refused by the gateway, by status: 401: 3" in ran.err
    assert cli("online-endpoint", "metrics", "-n", "nosuch").code == 1


def test_status(cli: Cli, blue: None) -> None:
    shown = cli("status").json()
    assert (shown["gateways_connected"], shown["ready_instances"]) == (1, 1)
    assert [i["deployment"] for i in shown["instances"]] == ["blue"]
    ran = cli("status", "-o", "table")
    assert ran.out.splitlines()[2].split() == ["diabetes", "Succeeded", "blue=100", "blue", "1/1"]


def test_status_says_what_needs_somebody(cli: Cli, platform: FakePlatform) -> None:
    assert cli("status").json()["problems"] == []
    platform.problems = ["The certificate is broken."]
    assert cli("status").json()["problems"] == platform.problems
    assert "The certificate is broken." in cli("status", "-o", "table").err


def test_status_names_what_failed_though_it_serves(cli: Cli, blue: None, platform: FakePlatform) -> None:
    (deployment,) = platform.deployments.values()
    deployment.provisioning_state = common_pb2.PROVISIONING_STATE_FAILED
    assert cli("status", "-o", "table").out.splitlines()[2].endswith("blue 1/1 Failed")


def test_no_platform_is_said_at_once(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PENSTOCK_TARGET")
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    ran = cli("status")
    assert (ran.code, ran.err.splitlines()[0]) == (1, f"error: no platform is running on {tmp_path}")


def test_a_defect_of_ours_is_one_sentence_too(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("penstock.blocking.endpoints.Endpoints.list", broken)
    ran = cli("online-endpoint", "list")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: this is a defect of penstock: ZeroDivisionError: oops (--debug shows where)\n"
    assert "Traceback" in cli("online-endpoint", "list", "--debug").err


def test_a_difference_that_was_known_is_not_noted_again(cli: Cli, blue: None, platform: FakePlatform) -> None:
    known = common_pb2.Condition(
        type="EnvironmentReady", status=common_pb2.CONDITION_STATUS_TRUE, reason="Differs", message="python 3.8 -> 3.10"
    )
    platform.deployments["endpoints/diabetes/deployments/blue"].conditions.append(known)
    assert cli("online-deployment", "update", "-e", "diabetes", "-n", "blue", "-i", 2).err == ""
