"""InstanceService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from typing import Any

from controlplane.api.convert.common import timestamp
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import instance_name, parse
from controlplane.usecases.instances import InstanceUseCases, InstanceView
from controlplane.usecases.paging import Query
from penstock.v1 import instance_pb2, instance_service_pb2, instance_service_pb2_grpc

ALL = "-"


class InstanceServicer(instance_service_pb2_grpc.InstanceServiceServicer):
    """See ``protos/penstock/v1/instance_service.proto``."""

    def __init__(self, instances: InstanceUseCases) -> None:
        self._instances = instances

    async def GetInstance(
        self, request: instance_service_pb2.GetInstanceRequest, context: Any
    ) -> instance_pb2.Instance:
        names = parse("endpoints/{}/deployments/{}/instances/{}", "name", request.name)
        return instance_message(await self._instances.get(*names))

    async def ListInstances(
        self, request: instance_service_pb2.ListInstancesRequest, context: Any
    ) -> instance_service_pb2.ListInstancesResponse:
        endpoint, deployment = (
            None if name == ALL else name for name in parse("endpoints/{}/deployments/{}", "parent", request.parent)
        )
        if endpoint is None and deployment is not None:
            raise InvalidArgumentError(
                Violation("parent", f"'{request.parent}' names a deployment of every endpoint: name the endpoint too")
            )
        query = Query(request.parent, request.filter, request.page_size, request.page_token)
        page = await self._instances.list(endpoint, deployment, query)
        return instance_service_pb2.ListInstancesResponse(
            instances=[instance_message(view) for view in page.items], next_page_token=page.next_token
        )


def instance_message(view: InstanceView) -> instance_pb2.Instance:
    """An instance as users see it."""
    record, seen = view.record, view.seen
    return instance_pb2.Instance(
        name=instance_name(record.endpoint, record.deployment, record.id),
        state=instance_pb2.InstanceState.Value(f"INSTANCE_STATE_{view.state.name}"),
        template_hash=record.template_hash,
        address=seen.address if seen else "",
        pid=seen.pid if seen else 0,
        create_time=timestamp(record.created),
        message=seen.failure.message if seen and seen.failure else "",
    )
