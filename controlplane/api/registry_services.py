"""ModelService and EnvironmentService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from controlplane.api.context import caller
from controlplane.api.convert.common import versioned
from controlplane.api.convert.registry import (
    environment_change,
    environment_message,
    environment_spec,
    model_change,
    model_message,
    model_spec,
)
from controlplane.domain.names import parse
from controlplane.domain.specs import EnvironmentSpec, ModelSpec
from controlplane.usecases.paging import Query
from controlplane.usecases.registry import RegistryUseCases
from penstock.v1 import (
    environment_pb2,
    environment_service_pb2,
    environment_service_pb2_grpc,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
)

ALL = "-"


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """See ``protos/penstock/v1/model_service.proto``."""

    def __init__(self, models: RegistryUseCases[ModelSpec]) -> None:
        self._models = models

    async def CreateModel(self, request: model_service_pb2.CreateModelRequest, context: Any) -> model_pb2.Model:
        record = await self._models.create(request.model_id, request.version, model_spec(request.model), caller())
        return model_message(record)

    async def GetModel(self, request: model_service_pb2.GetModelRequest, context: Any) -> model_pb2.Model:
        return model_message(await self._models.get(versioned("models", "name", request.name)))

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, context: Any
    ) -> model_service_pb2.ListModelsResponse:
        query = Query(request.parent, request.filter, request.page_size, request.page_token)
        page = await self._models.list(_parent("models", request.parent), query)
        return model_service_pb2.ListModelsResponse(
            models=[model_message(record) for record in page.items], next_page_token=page.next_token
        )

    async def UpdateModel(self, request: model_service_pb2.UpdateModelRequest, context: Any) -> model_pb2.Model:
        name = versioned("models", "model.name", request.model.name)
        change = model_change(request.model, request.update_mask)
        return model_message(await self._models.update(name, change, caller(), etag=request.model.etag))

    async def DeleteModel(self, request: model_service_pb2.DeleteModelRequest, context: Any) -> Empty:
        await self._models.delete(versioned("models", "name", request.name), caller(), etag=request.etag)
        return Empty()


class EnvironmentServicer(environment_service_pb2_grpc.EnvironmentServiceServicer):
    """See ``protos/penstock/v1/environment_service.proto``."""

    def __init__(self, environments: RegistryUseCases[EnvironmentSpec]) -> None:
        self._environments = environments

    async def CreateEnvironment(
        self, request: environment_service_pb2.CreateEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        spec = environment_spec(request.environment)
        record = await self._environments.create(request.environment_id, request.version, spec, caller())
        return environment_message(record)

    async def GetEnvironment(
        self, request: environment_service_pb2.GetEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        return environment_message(await self._environments.get(versioned("environments", "name", request.name)))

    async def ListEnvironments(
        self, request: environment_service_pb2.ListEnvironmentsRequest, context: Any
    ) -> environment_service_pb2.ListEnvironmentsResponse:
        query = Query(request.parent, request.filter, request.page_size, request.page_token)
        page = await self._environments.list(_parent("environments", request.parent), query)
        return environment_service_pb2.ListEnvironmentsResponse(
            environments=[environment_message(record) for record in page.items], next_page_token=page.next_token
        )

    async def UpdateEnvironment(
        self, request: environment_service_pb2.UpdateEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        name = versioned("environments", "environment.name", request.environment.name)
        change = environment_change(request.environment, request.update_mask)
        record = await self._environments.update(name, change, caller(), etag=request.environment.etag)
        return environment_message(record)

    async def DeleteEnvironment(self, request: environment_service_pb2.DeleteEnvironmentRequest, context: Any) -> Empty:
        name = versioned("environments", "name", request.name)
        await self._environments.delete(name, caller(), etag=request.etag)
        return Empty()


def _parent(kind: str, parent: str) -> str | None:
    if not parent:
        return None
    (name,) = parse(f"{kind}/{{}}", "parent", parent)
    return None if name == ALL else name
