"""MetricsService over a real socket, with signals set by hand."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.metrics.usage import Reading
from penstock.v1 import (
    asset_pb2,
    deployment_pb2,
    deployment_service_pb2,
    endpoint_pb2,
    endpoint_service_pb2,
    instance_pb2,
    metrics_service_pb2,
)
from tests.support.api import Client
from tests.support.signals import Stream

pytestmark = pytest.mark.integration

HOUSE = "endpoints/house"
GET = metrics_service_pb2.GetEndpointMetricsRequest(name=HOUSE)


async def create(client: Client, *deployments: str) -> None:
    request = endpoint_service_pb2.CreateEndpointRequest(endpoint_id="house", endpoint=endpoint_pb2.Endpoint())
    await client.endpoints.CreateEndpoint(request)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("score.py"), io.BytesIO())
    code = await client.upload(buffer.getvalue(), "src", asset_pb2.ASSET_KIND_FOLDER)
    for name in deployments:
        configuration = deployment_pb2.CodeConfiguration(code=code.name, scoring_script="score.py")
        await client.deployments.CreateDeployment(
            deployment_service_pb2.CreateDeploymentRequest(
                parent=HOUSE,
                deployment_id=name,
                deployment=deployment_pb2.Deployment(code_configuration=configuration),
            )
        )
        client.signals.routes.append(("house", name))


async def add_instances(client: Client, states: dict[str, InstanceState]) -> None:
    name = f"{HOUSE}/deployments/blue"
    blue = await client.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=name))
    now = client.platform.clock.now()
    records = [InstanceRecord(i, "house", "blue", blue.uid, "hash", now) for i in (*states, "unseen")]
    assert await client.platform.desired.record_instances(blue.uid, records)
    client.backend.seen = {
        name: InstanceObservation(name, state, "hash", f"unix:///{name}", 10 + number)
        for number, (name, state) in enumerate(states.items())
    }


async def get(client: Client) -> Any:
    return await client.metrics.GetEndpointMetrics(GET)


async def test_everything_of_an_endpoint(client: Client) -> None:
    await create(client, "blue", "green")
    await add_instances(client, {"one": InstanceState.READY, "two": InstanceState.STARTING})
    world = client.signals
    world.now += 59
    lines = [f"house/blue 200 {1000 * ms} 200" for ms in range(1, 101)]
    world.signals.requests.record([*lines, "house/blue 424 1000 500", "house/- 401 10 -"])
    gateway = await Stream(world.signals.load, "g").hello()
    await gateway.report(house_blue={"unix:///one": (4, 9, 8, 1)})
    world.readings = {10: Reading(ticks=100, pages=1000)}
    await world.reader.measure()
    world.readings = {10: Reading(ticks=140, pages=2000)}
    client.platform.clock.now()  # a second later
    await world.reader.measure()

    metrics = await get(client)
    assert (metrics.name, metrics.gateways_reporting) == (HOUSE, 1)
    assert metrics.sample_time.seconds > 0
    assert [(o.status_code, o.model_status_code, o.total) for o in metrics.refused.outcomes] == [(401, 0, 1)]
    blue, green = metrics.deployments
    assert (blue.name, green.name) == (f"{HOUSE}/deployments/blue", f"{HOUSE}/deployments/green")
    assert [(o.status_code, o.model_status_code, o.total) for o in blue.requests.outcomes] == [
        (200, 200, 100),
        (424, 500, 1),
    ]
    assert blue.requests.requests_per_minute == pytest.approx(101 * 60 / 59, rel=0.1)
    latency = blue.requests.latency
    assert latency.p50_ms == pytest.approx(50, rel=1 / 64)
    assert latency.p90_ms == pytest.approx(90, rel=1 / 64)
    assert latency.p95_ms == pytest.approx(95, rel=1 / 64)
    assert latency.p99_ms == pytest.approx(99, rel=1 / 64)
    assert latency.max_ms == 100
    assert latency.mean_ms == pytest.approx((5050 + 1) / 101)
    load = blue.load
    assert (load.requests_in_progress, load.succeeded_total, load.failed_total) == (4, 8, 1)
    one, two, unseen = blue.instances
    assert one.name == f"{HOUSE}/deployments/blue/instances/one"
    assert (one.state, one.requests_in_progress) == (instance_pb2.INSTANCE_STATE_READY, 4)
    assert (one.memory_bytes, one.memory_percent) == (2000 * 4096, pytest.approx(100 * 2000 * 4096 / (1 << 30)))
    assert one.HasField("cpu_percent")
    assert (two.requests_in_progress, two.HasField("memory_bytes")) == (0, False)
    assert (unseen.state, unseen.HasField("requests_in_progress")) == (instance_pb2.INSTANCE_STATE_PENDING, False)
    assert {c.state: c.count for c in blue.capacity} == {
        instance_pb2.INSTANCE_STATE_READY: 1,
        instance_pb2.INSTANCE_STATE_STARTING: 1,
        instance_pb2.INSTANCE_STATE_PENDING: 1,
    }
    assert (list(green.requests.outcomes), green.requests.HasField("latency"), list(green.instances)) == ([], False, [])
    assert green.load.requests_in_progress == 0

    await gateway.end()
    blue = (await get(client)).deployments[0]
    assert not blue.HasField("load")
    assert not blue.instances[0].HasField("requests_in_progress")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("endpoints/nosuch", grpc.StatusCode.NOT_FOUND),
        ("house", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_endpoint_that_is_not_there(client: Client, name: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.metrics.GetEndpointMetrics(metrics_service_pb2.GetEndpointMetricsRequest(name=name))
    assert refused.value.code() is code
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.metrics.WatchEndpointMetrics(metrics_service_pb2.WatchEndpointMetricsRequest(name=name)).read()
    assert refused.value.code() is code


@pytest.mark.parametrize("interval", [Duration(), Duration(nanos=999_999_999), Duration(seconds=60, nanos=1)])
async def test_an_interval_out_of_range_is_refused(client: Client, interval: Duration) -> None:
    await create(client)
    request = metrics_service_pb2.WatchEndpointMetricsRequest(name=HOUSE, interval=interval)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.metrics.WatchEndpointMetrics(request).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1 to 60 s are taken" in str(refused.value.details())


async def test_watching_goes_on_until_the_endpoint_is_gone(client: Client) -> None:
    await create(client)
    client.signals.routes.append(("house", "blue"))
    request = metrics_service_pb2.WatchEndpointMetricsRequest(name=HOUSE, interval=Duration(seconds=1))
    call = client.metrics.WatchEndpointMetrics(request)
    first = (await call.read()).metrics
    assert list(first.refused.outcomes) == []
    client.signals.signals.requests.record(["house/- 401 10 -"])
    second = (await call.read()).metrics
    assert [o.total for o in second.refused.outcomes] == [1]
    house = await client.endpoints.GetEndpoint(endpoint_service_pb2.GetEndpointRequest(name=HOUSE))
    await client.endpoints.DeleteEndpoint(endpoint_service_pb2.DeleteEndpointRequest(name=HOUSE))
    await client.platform.desired.remove_endpoint(house.uid)
    answers = [answer async for answer in call]
    assert len(answers) <= 1
