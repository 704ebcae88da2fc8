# Generated from penstock/aio/deployments.py by penstock/blocking/generate.py. Do not edit.
"""Deployments, their instances and their logs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from penstock.blocking.operations import Operation
from penstock.blocking.transport import Transport
from penstock.names import deployment_name, endpoint_name
from penstock.v1 import deployment_service_pb2 as pb
from penstock.v1 import instance_service_pb2
from penstock.v1.deployment_pb2 import Deployment
from penstock.v1.deployment_service_pb2 import TailLogsResponse
from penstock.v1.instance_pb2 import Instance


class Deployments:
    """The deployments behind endpoints. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, endpoint: str, name: str, deployment: Deployment, *, validate_only: bool = False
    ) -> Operation[Deployment]:
        """Create a deployment without traffic; done once its instances answer."""
        request = pb.CreateDeploymentRequest(
            parent=endpoint_name(endpoint), deployment_id=name, deployment=deployment, validate_only=validate_only
        )
        return self._operation(self._transport.change(self._transport.deployments.CreateDeployment, request))

    def get(self, endpoint: str, name: str) -> Deployment:
        """One deployment."""
        request = pb.GetDeploymentRequest(name=deployment_name(endpoint, name))
        return self._transport.read(self._transport.deployments.GetDeployment, request)

    def list(self, endpoint: str = "-", filter: str = "") -> Sequence[Deployment]:  # noqa: A002 - the API's own word
        """An endpoint's deployments by name; by default every endpoint's."""
        found: list[Deployment] = []
        request = pb.ListDeploymentsRequest(parent=endpoint_name(endpoint), page_size=1000, filter=filter)
        while True:
            page = self._transport.read(self._transport.deployments.ListDeployments, request)
            found += page.deployments
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def update(
        self,
        endpoint: str,
        name: str,
        deployment: Deployment,
        fields: Collection[str] = (),
        *,
        validate_only: bool = False,
    ) -> Operation[Deployment]:
        """Change ``fields`` (none: all of them) to what ``deployment`` has there.

        Done once the new instances answer; when they cannot, the old ones stay. A non-empty etag must match.
        """
        request = pb.UpdateDeploymentRequest(deployment=deployment, validate_only=validate_only)
        request.deployment.name = deployment_name(endpoint, name)
        if fields:
            request.update_mask.paths.extend(fields)
        return self._operation(self._transport.change(self._transport.deployments.UpdateDeployment, request))

    def delete(self, endpoint: str, name: str) -> Operation[None]:
        """Delete a deployment that has no live traffic."""
        request = pb.DeleteDeploymentRequest(name=deployment_name(endpoint, name))
        operation = self._transport.change(self._transport.deployments.DeleteDeployment, request)
        return Operation(self._transport, operation, lambda _: None)

    def logs(
        self,
        endpoint: str,
        name: str,
        *,
        lines: int | None = None,
        follow: bool = False,
        storage_initializer: bool = False,
        instance: str = "",
    ) -> Iterator[TailLogsResponse]:
        """The last ``lines`` (5000) lines of each instance; with ``follow`` also what is written from now on.

        ``storage_initializer`` asks for the log of building the environment and putting the model in place.
        """
        container = pb.LOG_CONTAINER_STORAGE_INITIALIZER if storage_initializer else pb.LOG_CONTAINER_INFERENCE_SERVER
        request = pb.TailLogsRequest(
            name=deployment_name(endpoint, name), lines=lines, follow=follow, container=container, instance=instance
        )
        return self._transport.stream(self._transport.deployments.TailLogs, request)

    def instances(self, endpoint: str = "-", name: str = "-") -> Sequence[Instance]:
        """The running copies of a deployment; by default of every one."""
        found: list[Instance] = []
        request = instance_service_pb2.ListInstancesRequest(parent=deployment_name(endpoint, name), page_size=1000)
        while True:
            page = self._transport.read(self._transport.instances.ListInstances, request)
            found += page.instances
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _operation(self, operation: object) -> Operation[Deployment]:
        return Operation(self._transport, operation, lambda packed: Deployment.FromString(packed.value))
