"""DeploymentService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from controlplane.api.context import caller
from controlplane.api.convert.common import with_short_name
from controlplane.api.convert.deployment import deployment_change, deployment_message, deployment_spec
from controlplane.api.convert.operation import OperationConverter
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import parse
from controlplane.domain.ports import LogKind
from controlplane.usecases.deployments import DeploymentUseCases
from controlplane.usecases.instances import InstanceUseCases
from controlplane.usecases.paging import Query
from penstock.v1 import deployment_pb2, deployment_service_pb2, deployment_service_pb2_grpc

LINES_DEFAULT = 5000
ALL = "-"
_LOGS = {
    deployment_service_pb2.LOG_CONTAINER_UNSPECIFIED: LogKind.INFERENCE_SERVER,
    deployment_service_pb2.LOG_CONTAINER_INFERENCE_SERVER: LogKind.INFERENCE_SERVER,
    deployment_service_pb2.LOG_CONTAINER_STORAGE_INITIALIZER: LogKind.STORAGE_INITIALIZER,
}


class DeploymentServicer(deployment_service_pb2_grpc.DeploymentServiceServicer):
    """See ``protos/penstock/v1/deployment_service.proto``."""

    def __init__(
        self, deployments: DeploymentUseCases, instances: InstanceUseCases, operations: OperationConverter
    ) -> None:
        self._deployments = deployments
        self._instances = instances
        self._operations = operations

    async def CreateDeployment(self, request: deployment_service_pb2.CreateDeploymentRequest, context: Any) -> Any:
        (endpoint,) = parse("endpoints/{}", "parent", request.parent)
        spec = with_short_name("deployment_id", request.deployment_id, lambda: deployment_spec(request.deployment))
        accepted = await self._deployments.create(
            endpoint, request.deployment_id, spec, caller(), validate_only=request.validate_only
        )
        return self._operations.message(accepted)

    async def GetDeployment(
        self, request: deployment_service_pb2.GetDeploymentRequest, context: Any
    ) -> deployment_pb2.Deployment:
        return deployment_message(await self._deployments.get(*_names(request.name)))

    async def ListDeployments(
        self, request: deployment_service_pb2.ListDeploymentsRequest, context: Any
    ) -> deployment_service_pb2.ListDeploymentsResponse:
        (endpoint,) = parse("endpoints/{}", "parent", request.parent)
        query = Query(request.parent, request.filter, request.page_size, request.page_token)
        page = await self._deployments.list(None if endpoint == ALL else endpoint, query)
        return deployment_service_pb2.ListDeploymentsResponse(
            deployments=[deployment_message(record) for record in page.items], next_page_token=page.next_token
        )

    async def UpdateDeployment(self, request: deployment_service_pb2.UpdateDeploymentRequest, context: Any) -> Any:
        accepted = await self._deployments.update(
            *_names(request.deployment.name, "deployment.name"),
            deployment_change(request.deployment, request.update_mask),
            caller(),
            etag=request.deployment.etag,
            validate_only=request.validate_only,
        )
        return self._operations.message(accepted)

    async def DeleteDeployment(self, request: deployment_service_pb2.DeleteDeploymentRequest, context: Any) -> Any:
        accepted = await self._deployments.delete(*_names(request.name), caller(), etag=request.etag)
        return self._operations.message(accepted)

    async def TailLogs(
        self, request: deployment_service_pb2.TailLogsRequest, context: Any
    ) -> AsyncIterator[deployment_service_pb2.TailLogsResponse]:
        if request.container not in _LOGS:
            raise InvalidArgumentError(Violation("container", f"has the unknown value {request.container}"))
        logs = await self._instances.logs(
            *_names(request.name),
            _LOGS[request.container],
            request.lines if request.HasField("lines") else LINES_DEFAULT,
            instance=request.instance,
            follow=request.follow,
        )
        async for some in logs:
            yield deployment_service_pb2.TailLogsResponse(instance=some.instance, lines=some.lines)


def _names(name: str, field: str = "name") -> tuple[str, str]:
    endpoint, deployment = parse("endpoints/{}/deployments/{}", field, name)
    return endpoint, deployment
