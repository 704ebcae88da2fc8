"""An endpoint and its deployment, made through the services, for the tests of each of them."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from controlplane.domain.records import Report
from controlplane.domain.status import Condition, ProvisioningState
from penstock.v1 import (
    asset_pb2,
    deployment_pb2,
    deployment_service_pb2,
    endpoint_pb2,
    endpoint_service_pb2,
)
from tests.support.api import Client

HOUSE = "endpoints/house"
BLUE = "endpoints/house/deployments/blue"


def folder(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def info(error: grpc.aio.AioRpcError) -> tuple[Any, dict[str, Any]]:
    """The status in the trailers, and its details by their type."""
    (packed,) = (value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
    status = status_pb2.Status.FromString(packed)
    details: dict[str, Any] = {}
    for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.LocalizedMessage):
        for detail in status.details:
            message = kind()
            if detail.Unpack(message):
                details[kind.__name__] = message
    return status, details


async def create_house(client: Client, **fields: Any) -> Any:
    return await client.endpoints.CreateEndpoint(
        endpoint_service_pb2.CreateEndpointRequest(endpoint_id="house", endpoint=endpoint_pb2.Endpoint(**fields))
    )


async def create_blue(client: Client, name: str = "blue", **fields: Any) -> Any:
    code = await client.upload(folder(**{"score.py": "def run(data): ..."}), "src", asset_pb2.ASSET_KIND_FOLDER)
    deployment = deployment_pb2.Deployment(
        code_configuration=deployment_pb2.CodeConfiguration(code=code.name, scoring_script="score.py"), **fields
    )
    return await client.deployments.CreateDeployment(
        deployment_service_pb2.CreateDeploymentRequest(parent=HOUSE, deployment_id=name, deployment=deployment)
    )


async def get_house(client: Client) -> endpoint_pb2.Endpoint:
    got: endpoint_pb2.Endpoint = await client.endpoints.GetEndpoint(endpoint_service_pb2.GetEndpointRequest(name=HOUSE))
    return got


async def report(client: Client, state: ProvisioningState, *conditions: Condition) -> None:
    house = await get_house(client)
    assert await client.platform.desired.report_endpoint(house.uid, Report(house.generation, state, conditions))
