"""Deployments through their use cases, where the API's tests do not reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.errors import (
    BeingDeletedError,
    ErrorReason,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedError,
)
from controlplane.domain.names import Versioned
from controlplane.domain.records import Report
from controlplane.domain.specs import AssetKind, DeploymentSpec, EndpointSpec, EnvironmentSpec, ModelSpec
from controlplane.domain.status import ProvisioningState
from controlplane.usecases.kinds import ENVIRONMENTS, MODELS
from controlplane.usecases.registry import RegistryUseCases
from tests.support.platform import CALLER, CODE, FILE, Platform

SERVED = DeploymentSpec(code_asset=CODE.sha256, scoring_script="score.py")


@pytest.fixture
async def house(platform: Platform) -> Platform:
    await platform.endpoints.create("house", EndpointSpec(), CALLER)
    return platform


async def succeed(platform: Platform) -> None:
    blue = await platform.deployments.get("house", "blue")
    assert await platform.desired.report_deployment(blue.uid, Report(blue.generation, ProvisioningState.SUCCEEDED), 1)


async def test_the_template_holds_everything_resolved(house: Platform) -> None:
    models = RegistryUseCases(MODELS, house.store, house.ledger, house.randomness)
    environments = RegistryUseCases(ENVIRONMENTS, house.store, house.ledger, house.randomness)
    for _ in range(2):
        await models.create("m", "", ModelSpec(asset=FILE.sha256), CALLER)
    await environments.create("e", "", EnvironmentSpec(pip_requirements="numpy"), CALLER)
    spec = replace(SERVED, model=Versioned("m", "latest"), environment=Versioned("e", "latest"))
    await house.deployments.create("house", "blue", spec, CALLER)
    blue = await house.deployments.get("house", "blue")
    assert blue.spec.model == Versioned("m", "2")
    assert blue.template.model is not None
    assert (blue.template.model.name, blue.template.model.asset) == (Versioned("m", "2"), FILE)
    assert blue.template.code == CODE
    assert blue.template.environment.pip_requirements == "numpy"


async def test_latest_is_resolved_when_the_call_is_made(house: Platform) -> None:
    models = RegistryUseCases(MODELS, house.store, house.ledger, house.randomness)
    await models.create("m", "", ModelSpec(asset=FILE.sha256), CALLER)
    latest = replace(SERVED, model=Versioned("m", "latest"))
    await house.deployments.create("house", "blue", latest, CALLER)
    await succeed(house)
    await models.create("m", "", ModelSpec(asset=FILE.sha256), CALLER)
    same = await house.deployments.update("house", "blue", lambda s: replace(s, description=""), CALLER)
    assert same.operation.done
    newer = await house.deployments.update("house", "blue", lambda _: latest, CALLER)
    assert not newer.operation.done
    assert (await house.deployments.get("house", "blue")).spec.model == Versioned("m", "2")


async def test_labels_of_what_it_uses_change_nothing_that_runs(house: Platform) -> None:
    environments = RegistryUseCases(ENVIRONMENTS, house.store, house.ledger, house.randomness)
    await environments.create("e", "1", EnvironmentSpec(pip_requirements="numpy"), CALLER)
    await house.deployments.create("house", "blue", replace(SERVED, environment=Versioned("e", "1")), CALLER)
    await succeed(house)
    await environments.update(Versioned("e", "1"), lambda s: replace(s, tags={"a": "b"}), CALLER)
    assert (await house.deployments.update("house", "blue", lambda s: s, CALLER)).operation.done
    await house.deployments.update("house", "blue", lambda s: replace(s, instance_count=2), CALLER)
    blue = await house.deployments.get("house", "blue")
    assert blue.report.state is ProvisioningState.SCALING


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": Versioned("m", "1")}, ErrorReason.MODEL_NOT_FOUND),
        ({"environment": Versioned("e", "latest")}, ErrorReason.ENVIRONMENT_NOT_FOUND),
        ({"code_asset": "0" * 64}, ErrorReason.ASSET_NOT_FOUND),
    ],
)
async def test_what_does_not_exist_is_named(house: Platform, change: dict[str, object], reason: ErrorReason) -> None:
    with pytest.raises(NotFoundError) as refusal:
        await house.deployments.create("house", "blue", replace(SERVED, **change), CALLER)
    assert refusal.value.reason is reason
    with pytest.raises(NotFoundError, match="its deployments are: none"):
        await house.deployments.get("house", "blue")


async def test_code_is_a_folder(house: Platform) -> None:
    assert FILE.kind is AssetKind.FILE
    with pytest.raises(InvalidArgumentError, match="uploaded as a file"):
        await house.deployments.create("house", "blue", replace(SERVED, code_asset=FILE.sha256), CALLER)


async def test_an_update_the_backend_cannot_honour_changes_nothing(house: Platform) -> None:
    await house.deployments.create("house", "blue", SERVED, CALLER)
    before = await house.deployments.get("house", "blue")
    with pytest.raises(UnsupportedError):
        await house.deployments.update("house", "blue", lambda s: replace(s, model_mount_path="/m"), CALLER)
    assert await house.deployments.get("house", "blue") == before


async def test_what_is_going_takes_no_changes_and_its_name_stays_taken(house: Platform) -> None:
    await house.deployments.create("house", "blue", SERVED, CALLER)
    first = await house.deployments.delete("house", "blue", CALLER)
    assert (await house.deployments.delete("house", "blue", CALLER)).operation == first.operation
    with pytest.raises(BeingDeletedError):
        await house.deployments.update("house", "blue", lambda s: s, CALLER)
    with pytest.raises(BeingDeletedError):
        await house.deployments.create("house", "blue", SERVED, CALLER)


async def test_validating_an_update_changes_nothing(house: Platform) -> None:
    await house.deployments.create("house", "blue", SERVED, CALLER)
    before = await house.deployments.get("house", "blue")
    accepted = await house.deployments.update(
        "house", "blue", lambda s: replace(s, instance_count=5), CALLER, validate_only=True
    )
    assert accepted.operation.done
    assert await house.deployments.get("house", "blue") == before
