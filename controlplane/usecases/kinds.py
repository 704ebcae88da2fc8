"""The two kinds of the registry."""

from __future__ import annotations

from controlplane.domain.checks import check_environment, check_model
from controlplane.domain.errors import ErrorReason
from controlplane.domain.specs import EnvironmentSpec, ModelSpec
from controlplane.usecases.registry import RegistryKind

MODELS: RegistryKind[ModelSpec] = RegistryKind(
    name="model",
    not_found=ErrorReason.MODEL_NOT_FOUND,
    registry=lambda transaction: transaction.models,
    check=check_model,
    asset_of=lambda spec: spec.asset,
)
ENVIRONMENTS: RegistryKind[EnvironmentSpec] = RegistryKind(
    name="environment",
    not_found=ErrorReason.ENVIRONMENT_NOT_FOUND,
    registry=lambda transaction: transaction.environments,
    check=check_environment,
    asset_of=lambda spec: spec.build.asset if spec.build else None,
)
