"""GatewayService: what the gateways have, in the API's words, and a restart that may be refused."""

from __future__ import annotations

import grpc
import pytest

from penstock.v1 import gateway_service_pb2 as api
from tests.support.api import Client

pytestmark = pytest.mark.integration


async def test_what_a_gateway_has(client: Client) -> None:
    status = await client.gateways.GetGatewayStatus(api.GetGatewayStatusRequest())
    (gateway,) = status.gateways
    assert (gateway.node_id, gateway.version, gateway.late) == ("gateway", "1.40.0", True)
    since = client.platform.clock.now().timestamp() - gateway.connect_time.ToSeconds()
    assert since == pytest.approx(60, abs=5)
    (count,) = gateway.counts
    assert (count.kind, count.acked, count.pending, count.rejected) == ("route", 2, 0, 1)
    (refused,) = gateway.resources
    assert refused.state == api.GATEWAY_RESOURCE_STATE_REJECTED
    assert (refused.name, refused.reason) == ("ep/bad", "no such cluster")


async def test_what_it_has_of_one_endpoint(client: Client) -> None:
    status = await client.gateways.GetGatewayStatus(api.GetGatewayStatusRequest(endpoint="endpoints/house"))
    _, had = status.gateways[0].resources
    assert (had.name, had.state) == ("ep/house", api.GATEWAY_RESOURCE_STATE_ACKED)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.gateways.GetGatewayStatus(api.GetGatewayStatusRequest(endpoint="house"))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_restart_and_its_refusal(client: Client) -> None:
    done = await client.gateways.RestartGateway(api.RestartGatewayRequest())
    assert (done.pid, done.epoch, done.version) == (4711, 3, "1.40.0")
    client.backend.restart_refusal = "its predecessor still finishes"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.gateways.RestartGateway(api.RestartGatewayRequest())
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.value.details() == "its predecessor still finishes"
