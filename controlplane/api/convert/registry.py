"""Models, environments and assets: messages and values."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.field_mask_pb2 import FieldMask

from controlplane.api.convert.common import asset_id, asset_name, member, timestamp, versioned_name
from controlplane.api.masks import merged
from controlplane.domain.checks import Mistakes, check_environment, check_model
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.registry import AssetRecord, Registered
from controlplane.domain.specs import (
    AssetKind,
    EnvironmentSpec,
    HttpRoute,
    ImageBuild,
    InferenceConfig,
    ModelSpec,
    ModelType,
)
from controlplane.domain.uploads import UploadHeader
from penstock.v1 import asset_pb2, asset_service_pb2, environment_pb2, model_pb2

LABELS = ("description", "tags", "properties")
_TYPES = {
    model_pb2.MODEL_TYPE_CUSTOM: ModelType.CUSTOM,
    model_pb2.MODEL_TYPE_MLFLOW: ModelType.MLFLOW,
    model_pb2.MODEL_TYPE_TRITON: ModelType.TRITON,
}
_TYPE_NUMBERS = {kind: number for number, kind in _TYPES.items()}
_KINDS = {asset_pb2.ASSET_KIND_FILE: AssetKind.FILE, asset_pb2.ASSET_KIND_FOLDER: AssetKind.FOLDER}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def model_message(record: Registered[ModelSpec]) -> model_pb2.Model:
    """A model as users see it."""
    spec = record.spec
    return model_pb2.Model(
        name=versioned_name("models", record.name),
        uid=record.uid,
        etag=record.etag,
        asset=asset_name(spec.asset),
        type=_TYPE_NUMBERS[spec.type],
        description=spec.description,
        tags=spec.tags,
        properties=spec.properties,
        create_time=timestamp(record.created),
        anonymous=spec.anonymous,
    )


def model_spec(message: model_pb2.Model) -> ModelSpec:
    """What a message registers. Raises InvalidArgumentError with every mistake."""
    mistakes = Mistakes()
    asset = mistakes.gather(lambda: asset_id("asset", message.asset))
    kind = mistakes.gather(lambda: member("type", message.type, _TYPES, ModelType.CUSTOM))
    spec = ModelSpec(
        asset=asset or "",
        type=kind or ModelType.CUSTOM,
        description=message.description,
        tags=dict(message.tags),
        properties=dict(message.properties),
        anonymous=message.anonymous,
    )
    if asset is not None:
        mistakes.gather(lambda: check_model(spec))
    mistakes.refuse()
    return spec


def model_change(request: model_pb2.Model, mask: FieldMask) -> Callable[[ModelSpec], ModelSpec]:
    """What an update of labels asks for."""

    def change(spec: ModelSpec) -> ModelSpec:
        present = model_pb2.Model(
            asset=asset_name(spec.asset),
            type=_TYPE_NUMBERS[spec.type],
            description=spec.description,
            tags=spec.tags,
            properties=spec.properties,
            anonymous=spec.anonymous,
        )
        return model_spec(merged(present, request, mask, LABELS))

    return change


def environment_message(record: Registered[EnvironmentSpec]) -> environment_pb2.Environment:
    """An environment as users see it."""
    message = _environment_spec_message(record.spec)
    message.name = versioned_name("environments", record.name)
    message.uid = record.uid
    message.etag = record.etag
    message.create_time.CopyFrom(timestamp(record.created))
    return message


def environment_spec(message: environment_pb2.Environment) -> EnvironmentSpec:
    """What a message registers. Raises InvalidArgumentError with every mistake."""
    mistakes = Mistakes()
    build = None
    if message.HasField("build"):
        asset = mistakes.gather(lambda: asset_id("build.asset", message.build.asset))
        build = ImageBuild(asset or "", message.build.dockerfile_path or "Dockerfile")
    config = message.inference_config
    spec = EnvironmentSpec(
        conda_file=message.conda_file,
        pip_requirements=message.pip_requirements,
        image=message.image,
        build=build,
        inference_config=_inference(config) if message.HasField("inference_config") else None,
        description=message.description,
        tags=dict(message.tags),
        properties=dict(message.properties),
        anonymous=message.anonymous,
    )
    if not mistakes.found:
        mistakes.gather(lambda: check_environment(spec))
    mistakes.refuse()
    return spec


def environment_change(
    request: environment_pb2.Environment, mask: FieldMask
) -> Callable[[EnvironmentSpec], EnvironmentSpec]:
    """What an update of labels asks for."""
    return lambda spec: environment_spec(merged(_environment_spec_message(spec), request, mask, LABELS))


def asset_message(record: AssetRecord) -> asset_pb2.Asset:
    """An upload as users see it."""
    asset = record.asset
    return asset_pb2.Asset(
        name=asset.resource_name,
        kind=_KIND_NUMBERS[asset.kind],
        basename=asset.basename,
        size_bytes=asset.size_bytes,
        create_time=timestamp(record.created),
    )


def upload_header(message: asset_service_pb2.AssetHeader) -> UploadHeader:
    """What a client announces. Raises InvalidArgumentError."""
    if message.kind not in _KINDS:
        raise InvalidArgumentError(Violation("header.kind", "must be ASSET_KIND_FILE or ASSET_KIND_FOLDER"))
    return UploadHeader(message.sha256, message.size_bytes, _KINDS[message.kind], message.basename)


def _environment_spec_message(spec: EnvironmentSpec) -> environment_pb2.Environment:
    message = environment_pb2.Environment(
        conda_file=spec.conda_file,
        pip_requirements=spec.pip_requirements,
        image=spec.image,
        description=spec.description,
        tags=spec.tags,
        properties=spec.properties,
        anonymous=spec.anonymous,
    )
    if spec.build is not None:
        message.build.asset = asset_name(spec.build.asset)
        message.build.dockerfile_path = spec.build.dockerfile_path
    if spec.inference_config is not None:
        message.inference_config.SetInParent()
        for name in ("liveness_route", "readiness_route", "scoring_route"):
            route: HttpRoute | None = getattr(spec.inference_config, name)
            if route is not None:
                target = getattr(message.inference_config, name)
                target.port, target.path = route.port, route.path
    return message


def _inference(message: environment_pb2.InferenceConfig) -> InferenceConfig:
    def route(name: str) -> HttpRoute | None:
        found = getattr(message, name)
        return HttpRoute(found.port, found.path) if message.HasField(name) else None  # type: ignore[arg-type]

    return InferenceConfig(route("liveness_route"), route("readiness_route"), route("scoring_route"))
