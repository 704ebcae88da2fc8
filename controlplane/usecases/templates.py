"""From a deployment's spec to what an instance is made from: every reference is looked up when the call is made."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.errors import ErrorReason, InvalidArgumentError, NotFoundError, Violation
from controlplane.domain.instances import InstanceTemplate, ModelFiles
from controlplane.domain.names import Versioned
from controlplane.domain.records import EndpointRecord
from controlplane.domain.specs import Asset, AssetKind, AuthMode, DeploymentSpec, EnvironmentSpec
from controlplane.usecases.ports import Transaction


async def resolve(
    transaction: Transaction, endpoint: EndpointRecord, deployment: str, spec: DeploymentSpec
) -> tuple[DeploymentSpec, InstanceTemplate]:
    """The spec with ``latest`` replaced by versions, and its template.

    Raises:
        NotFoundError: the model, the environment or the code does not exist.
        InvalidArgumentError: the code is not a folder.
    """
    model, files = await _model(transaction, spec.model)
    named, environment = await _environment(transaction, spec.environment)
    spec = replace(spec, model=model, environment=named)
    return spec, InstanceTemplate(
        endpoint=endpoint.name,
        deployment=deployment,
        model=files,
        code=await _code(transaction, spec.code_asset),
        scoring_script=spec.scoring_script,
        environment=environment,
        strict_environment=spec.strict_environment,
        environment_variables=spec.environment_variables,
        request_settings=spec.request_settings,
        liveness_probe=spec.liveness_probe,
        readiness_probe=spec.readiness_probe,
        instance_type=spec.instance_type,
        model_mount_path=spec.model_mount_path,
        takes_tokens=endpoint.spec.auth_mode is AuthMode.AML_TOKEN,
    )


async def existing_asset(transaction: Transaction, sha256: str) -> Asset:
    """The upload with that digest.

    Raises:
        NotFoundError: it did not arrive.
    """
    record = await transaction.assets.get(sha256)
    if record is None:
        raise missing_asset(sha256)
    return record.asset


def missing_asset(sha256: str) -> NotFoundError:
    """The refusal of an upload that did not arrive."""
    name = f"assets/sha256:{sha256}"
    return NotFoundError(
        ErrorReason.ASSET_NOT_FOUND, f"There is no asset '{name}'.", hint="Upload it first.", resource=name
    )


async def _model(transaction: Transaction, name: Versioned | None) -> tuple[Versioned | None, ModelFiles | None]:
    if name is None:
        return None, None
    record = await transaction.models.get(name.name, name.version)
    if record is None:
        raise missing(ErrorReason.MODEL_NOT_FOUND, "model", name)
    asset = await existing_asset(transaction, record.spec.asset)
    return record.name, ModelFiles(name=record.name, asset=asset, type=record.spec.type)


async def _environment(transaction: Transaction, name: Versioned | None) -> tuple[Versioned | None, EnvironmentSpec]:
    if name is None:
        return None, EnvironmentSpec()
    record = await transaction.environments.get(name.name, name.version)
    if record is None:
        raise missing(ErrorReason.ENVIRONMENT_NOT_FOUND, "environment", name)
    return record.name, record.spec


async def _code(transaction: Transaction, sha256: str) -> Asset | None:
    if not sha256:
        return None
    asset = await existing_asset(transaction, sha256)
    if asset.kind is not AssetKind.FOLDER:
        raise InvalidArgumentError(
            Violation("code_configuration.code", f"'{asset.basename}' was uploaded as a file, and code is a folder")
        )
    return asset


def missing(reason: ErrorReason, kind: str, name: Versioned) -> NotFoundError:
    """The refusal of a model or an environment that does not exist."""
    return NotFoundError(
        reason,
        f"There is no {kind} '{name}'.",
        hint=f"penstock {kind} list shows which there are.",
        resource=f"{kind}s/{name.name}/versions/{name.version}",
    )
