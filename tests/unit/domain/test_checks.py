"""Ranges at their edges, and all mistakes at once."""

from __future__ import annotations

import math

import pytest

from controlplane.domain.checks import Mistakes, check_deployment, check_endpoint, check_environment, check_model
from controlplane.domain.errors import InvalidArgumentError, InvalidTrafficError, Violation
from controlplane.domain.specs import (
    DeploymentSpec,
    EndpointSpec,
    EnvironmentSpec,
    HttpRoute,
    ImageBuild,
    InferenceConfig,
    ModelSpec,
    ProbeSettings,
    RequestSettings,
)

CODE = {"code_asset": "c" * 64, "scoring_script": "score.py"}


def fields(check, spec) -> set[str]:
    try:
        check(spec)
    except InvalidArgumentError as refusal:
        return {violation.field for violation in refusal.violations}
    return set()


@pytest.mark.parametrize(
    "edge",
    [
        {"instance_count": 0},
        {"instance_count": 1000},
        {"request_settings": RequestSettings(1, 1, 1)},
        {"request_settings": RequestSettings(180_000, 1000, 180_000)},
        {"readiness_probe": ProbeSettings(0, 1, 1, 1, 1)},
        {"liveness_probe": ProbeSettings(3600, 3600, 3600, 100, 1000)},
        {"environment_variables": {"A": "", "_penstock": "x", "PENSTOC": "x"}},
        {"model_mount_path": "/models"},
    ],
)
def test_the_edges_are_inside(edge: dict[str, object]) -> None:
    assert fields(check_deployment, DeploymentSpec(**CODE, **edge)) == set()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"instance_count": -1}, "instance_count"),
        ({"instance_count": 1001}, "instance_count"),
        ({"request_settings": RequestSettings(0)}, "request_settings.request_timeout_ms"),
        ({"request_settings": RequestSettings(1, 1001)}, "request_settings.max_concurrent_requests_per_instance"),
        ({"request_settings": RequestSettings(1, 1, 180_001)}, "request_settings.max_queue_wait_ms"),
        ({"liveness_probe": ProbeSettings(-0.1)}, "liveness_probe.initial_delay_seconds"),
        ({"readiness_probe": ProbeSettings(math.nan)}, "readiness_probe.initial_delay_seconds"),
        ({"readiness_probe": ProbeSettings(1, math.inf)}, "readiness_probe.period_seconds"),
        ({"readiness_probe": ProbeSettings(1, 1, 0.5)}, "readiness_probe.timeout_seconds"),
        ({"readiness_probe": ProbeSettings(1, 1, 1, 0)}, "readiness_probe.success_threshold"),
        ({"readiness_probe": ProbeSettings(1, 1, 1, 1, 1001)}, "readiness_probe.failure_threshold"),
        ({"environment_variables": {"PENSTOCK_X": ""}}, "environment_variables.PENSTOCK_X"),
        ({"environment_variables": {"A=B": ""}}, "environment_variables.A=B"),
        ({"environment_variables": {"A": "\0"}}, "environment_variables.A"),
        ({"scoring_script": "../score.py"}, "code_configuration.scoring_script"),
        ({"scoring_script": "/score.py"}, "code_configuration.scoring_script"),
        ({"scoring_script": ""}, "code_configuration.scoring_script"),
        ({"code_asset": ""}, "code_configuration.code"),
        ({"code_asset": "C" * 64}, "code_configuration.code"),
        ({"model_mount_path": "models"}, "model_mount_path"),
        ({"tags": {"": "x"}}, "tags"),
        ({"retained": {"x": "y" * 70_000}}, "retained"),
    ],
)
def test_what_is_outside_is_named(change: dict[str, object], field: str) -> None:
    assert field in fields(check_deployment, DeploymentSpec(**(CODE | change)))


def test_a_deployment_of_nothing_is_refused() -> None:
    assert fields(check_deployment, DeploymentSpec()) == {"code_configuration"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (EnvironmentSpec(conda_file="a", pip_requirements="b"), "pip_requirements"),
        (EnvironmentSpec(conda_file="x" * ((1 << 20) + 1)), "conda_file"),
        (EnvironmentSpec(build=ImageBuild("x")), "build.asset"),
        (EnvironmentSpec(build=ImageBuild("a" * 64, "../Dockerfile")), "build.dockerfile_path"),
        (EnvironmentSpec(build=ImageBuild("a" * 64), image="i"), "build"),
        (
            EnvironmentSpec(inference_config=InferenceConfig(scoring_route=HttpRoute(0, "/"))),
            "inference_config.scoring_route.port",
        ),
        (
            EnvironmentSpec(inference_config=InferenceConfig(liveness_route=HttpRoute(1, "x"))),
            "inference_config.liveness_route.path",
        ),
    ],
)
def test_environments(spec: EnvironmentSpec, field: str) -> None:
    assert fields(check_environment, spec) == {field}


def test_models_and_endpoints() -> None:
    assert fields(check_model, ModelSpec(asset="")) == {"asset"}
    assert fields(check_model, ModelSpec(asset="a" * 64)) == set()
    assert fields(check_endpoint, EndpointSpec(description="x" * 70_000)) == {"description"}


def test_mistakes_of_one_kind_keep_their_kind() -> None:
    def wrong_traffic() -> None:
        raise InvalidTrafficError(Violation("traffic", "t"))

    mistakes = Mistakes()
    mistakes.gather(wrong_traffic)
    with pytest.raises(InvalidTrafficError):
        mistakes.refuse()
    mistakes.add("name", "n")
    with pytest.raises(InvalidArgumentError) as refusal:
        mistakes.refuse()
    assert type(refusal.value) is InvalidArgumentError
    assert [v.field for v in refusal.value.violations] == ["traffic", "name"]
    Mistakes().refuse()
