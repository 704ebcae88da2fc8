"""Instances, logs, health and reflection over a real socket, and what every call has in common."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.domain.ports import LogKind, LogLines
from penstock.v1 import (
    deployment_service_pb2,
    endpoint_pb2,
    endpoint_service_pb2,
    instance_pb2,
    instance_service_pb2,
    platform_service_pb2,
)
from tests.integration.api.house import BLUE, HOUSE, create_blue, create_house, get_house, info
from tests.support.api import TOKEN, Client, bearer, open_client

pytestmark = pytest.mark.integration


async def test_instances_are_what_is_recorded_and_seen(client: Client) -> None:
    await create_house(client)
    await create_blue(client)
    blue = await client.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=BLUE))
    now = client.platform.clock.now()
    records = [InstanceRecord(f"instance{n}", "house", "blue", blue.uid, "hash", now) for n in range(3)]
    assert await client.platform.desired.record_instances(blue.uid, records)
    await client.platform.desired.drain_instances(["instance2"])
    client.backend.seen = {
        f"instance{n}": InstanceObservation(f"instance{n}", InstanceState.READY, "hash", "unix:x", 7) for n in (1, 2)
    }
    listed = await client.instances.ListInstances(
        instance_service_pb2.ListInstancesRequest(parent="endpoints/-/deployments/-")
    )
    assert [instance.state for instance in listed.instances] == [
        instance_pb2.INSTANCE_STATE_PENDING,
        instance_pb2.INSTANCE_STATE_READY,
        instance_pb2.INSTANCE_STATE_DRAINING,
    ]
    for text, ids in (("state = READY", [1]), ("state = pending", [0]), ('name : "stance" AND state = READY', [1])):
        some = await client.instances.ListInstances(
            instance_service_pb2.ListInstancesRequest(parent=BLUE, filter=text, page_size=1)
        )
        assert [i.name for i in some.instances] == [f"{BLUE}/instances/instance{n}" for n in ids]
        assert some.next_page_token == ""
    with pytest.raises(grpc.aio.AioRpcError, match="there are: name, state"):
        await client.instances.ListInstances(instance_service_pb2.ListInstancesRequest(parent=BLUE, filter="pid = 7"))
    got = await client.instances.GetInstance(
        instance_service_pb2.GetInstanceRequest(name=f"{BLUE}/instances/instance1")
    )
    assert (got.address, got.pid) == ("unix:x", 7)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.instances.GetInstance(instance_service_pb2.GetInstanceRequest(name=f"{BLUE}/instances/nobody"))
    assert info(refusal.value)[1]["ErrorInfo"].reason == "INSTANCE_NOT_FOUND"


async def test_logs_come_from_the_backend(client: Client) -> None:
    await create_house(client)
    await create_blue(client)
    client.backend.lines = [LogLines("instance0", ("one", "two"))]
    tail = deployment_service_pb2.TailLogsRequest(
        name=BLUE, container=deployment_service_pb2.LOG_CONTAINER_STORAGE_INITIALIZER
    )
    got = [response async for response in client.deployments.TailLogs(tail)]
    assert [(response.instance, list(response.lines)) for response in got] == [("instance0", ["one", "two"])]
    assert client.backend.asked == [((), LogKind.STORAGE_INITIALIZER, 5000, False)]
    tail.follow = True
    following = client.deployments.TailLogs(tail)
    await following.read()
    following.cancel()


async def test_the_platforms_state(client: Client) -> None:
    status = await client.status.GetPlatformStatus(platform_service_pb2.GetPlatformStatusRequest())
    assert (status.endpoints, status.endpoints_rejected) == (3, {"bad": "why"})
    assert list(status.problems) == ["It is broken."]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x"])
async def test_without_the_token_nothing_is_answered_but_health(token: str) -> None:
    async with open_client(token) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await get_house(client)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert info(refusal.value)[1]["ErrorInfo"].reason == "UNAUTHENTICATED"
        watch = client.endpoints.WatchEndpoint(endpoint_service_pb2.WatchEndpointRequest(name=HOUSE))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await watch.read()
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_can_be_watched(client: Client) -> None:
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await client.api.serving(yes=False)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()


async def test_a_defect_is_told_by_its_request_id_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(client.platform.store, "read", broken)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.endpoints.GetEndpoint(
            endpoint_service_pb2.GetEndpointRequest(name=HOUSE), metadata=(("x-request-id", "mine-1"),)
        )
    assert refusal.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(refusal.value)
    assert info(refusal.value)[1]["ErrorInfo"].metadata["request_id"] == "mine-1"


async def test_many_mistakes_still_fit_into_the_trailers(client: Client) -> None:
    await create_house(client)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create_blue(client, environment_variables={f"PENSTOCK_{n}": "é" * 100 for n in range(500)})
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(info(refusal.value)[1]["BadRequest"].field_violations) > 10


async def test_reflection_lists_the_services(client: Client) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    call = stub.ServerReflectionInfo(metadata=(("authorization", f"Bearer {TOKEN}"),))
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {"penstock.v1.EndpointService", "google.longrunning.Operations", "grpc.health.v1.Health"} <= names
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="penstock.v1.EndpointService"))
    assert (await call.read()).HasField("file_descriptor_response")
    await call.done_writing()
    call.cancel()


async def test_two_channels_do_not_disturb_each_other(client: Client) -> None:
    await create_house(client)
    async with grpc.aio.insecure_channel(client.address, interceptors=bearer(TOKEN)) as channel:
        other = replace(client, channel=channel)
        updates = [
            caller.endpoints.UpdateEndpoint(
                endpoint_service_pb2.UpdateEndpointRequest(
                    endpoint=endpoint_pb2.Endpoint(name=HOUSE, description=f"{number}"),
                    update_mask=FieldMask(paths=["description"]),
                )
            )
            for number in range(20)
            for caller in (client, other)
        ]
        await asyncio.gather(*updates)
    assert 20 <= (await get_house(client)).generation <= 41
