"""Endpoints, deployments and operations over a real socket, with the stubs that clients use."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_proto_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2

from controlplane.domain.records import Report
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from penstock.v1 import (
    common_pb2,
    deployment_pb2,
    deployment_service_pb2,
    endpoint_pb2,
    endpoint_service_pb2,
    operation_pb2,
)
from tests.integration.api.house import BLUE, HOUSE, create_blue, create_house, get_house, info, report
from tests.support.api import Client
from tests.support.platform import LIFETIME

pytestmark = pytest.mark.integration


async def test_an_endpoint_from_creation_to_success(client: Client) -> None:
    operation = await create_house(client, tags={"team": "a"})
    metadata = operation_pb2.OperationMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (metadata.target, metadata.verb, metadata.generation) == (HOUSE, "create", 1)
    assert not operation.done
    house = await get_house(client)
    assert house.scoring_uri == "http://localhost:8080/endpoints/house/score"
    assert house.provisioning_state == common_pb2.PROVISIONING_STATE_CREATING
    assert house.auth_mode == endpoint_pb2.AUTH_MODE_KEY
    waiting = asyncio.ensure_future(
        client.operations.WaitOperation(operations_proto_pb2.WaitOperationRequest(name=operation.name))
    )
    await report(client, ProvisioningState.SUCCEEDED)
    done = await waiting
    answer = endpoint_pb2.Endpoint()
    assert done.done
    assert done.response.Unpack(answer)
    assert answer.provisioning_state == common_pb2.PROVISIONING_STATE_SUCCEEDED
    assert answer.tags == {"team": "a"}


async def test_waiting_ends_with_its_timeout(client: Client) -> None:
    operation = await create_house(client)
    wait = operations_proto_pb2.WaitOperationRequest(name=operation.name, timeout=Duration(nanos=1))
    assert not (await client.operations.WaitOperation(wait)).done


async def test_a_failed_operation_carries_the_users_traceback(client: Client) -> None:
    operation = await create_house(client)
    failed = Condition(ConditionType.ROUTE_PROGRAMMED, ConditionStatus.FALSE, "Rejected", "no good", "Traceback: boom")
    await report(client, ProvisioningState.FAILED, failed)
    got = await client.operations.GetOperation(operations_proto_pb2.GetOperationRequest(name=operation.name))
    assert got.error.message == "no good"
    debug = error_details_pb2.DebugInfo()
    assert any(detail.Unpack(debug) for detail in got.error.details)
    assert debug.detail == "Traceback: boom"


async def test_operations_are_listed_newest_first_and_forgotten(client: Client) -> None:
    first = await create_house(client)
    second = await create_blue(client)
    page = await client.operations.ListOperations(operations_proto_pb2.ListOperationsRequest(page_size=1))
    assert [operation.name for operation in page.operations] == [second.name]
    page = await client.operations.ListOperations(
        operations_proto_pb2.ListOperationsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert [operation.name for operation in page.operations] == [first.name]
    for text, found in (
        ('target = "endpoints/house"', [first]),
        ("target : HOUSE AND done = false", [second, first]),
        ("done = true", []),
    ):
        page = await client.operations.ListOperations(operations_proto_pb2.ListOperationsRequest(filter=text))
        assert [operation.name for operation in page.operations] == [operation.name for operation in found]
    with pytest.raises(grpc.aio.AioRpcError, match="there are: target, done"):
        await client.operations.ListOperations(operations_proto_pb2.ListOperationsRequest(filter="verb = create"))
    with pytest.raises(grpc.aio.AioRpcError, match="operations stand under nothing"):
        await client.operations.ListOperations(operations_proto_pb2.ListOperationsRequest(name="endpoints/house"))
    await client.operations.DeleteOperation(operations_proto_pb2.DeleteOperationRequest(name=first.name))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.operations.GetOperation(operations_proto_pb2.GetOperationRequest(name=first.name))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.operations.CancelOperation(operations_proto_pb2.CancelOperationRequest(name=second.name))
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_traffic_is_shown_with_zeros_and_changed_by_a_mask(client: Client) -> None:
    await create_house(client, description="kept")
    await create_blue(client)
    await create_blue(client, "green")
    await client.endpoints.UpdateEndpoint(
        endpoint_service_pb2.UpdateEndpointRequest(
            endpoint=endpoint_pb2.Endpoint(name=HOUSE, traffic={"blue": 100}, description="not in the mask"),
            update_mask=FieldMask(paths=["traffic"]),
        )
    )
    house = await get_house(client)
    assert house.traffic == {"blue": 100, "green": 0}
    assert house.description == "kept"
    assert house.generation == 2


async def test_every_mistake_of_a_deployment_is_told_at_once(client: Client) -> None:
    await create_house(client)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create_blue(
            client,
            "1",
            model="models/x",
            environment_variables={"PENSTOCK_X": "1"},
            instance_count=1001,
            request_settings=deployment_pb2.RequestSettings(request_timeout_ms=180_001),
            readiness_probe=deployment_pb2.ProbeSettings(period_seconds=0.5),
        )
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    _, details = info(refusal.value)
    assert details["ErrorInfo"].reason == "INVALID_ARGUMENT"
    assert details["ErrorInfo"].domain == "penstock"
    assert {violation.field for violation in details["BadRequest"].field_violations} == {
        "deployment_id",
        "model",
        "environment_variables.PENSTOCK_X",
        "instance_count",
        "request_settings.request_timeout_ms",
        "readiness_probe.period_seconds",
    }


async def test_what_the_backend_cannot_honour_is_refused(client: Client) -> None:
    await create_house(client)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create_blue(client, model_mount_path="/models")
    _, details = info(refusal.value)
    assert details["ErrorInfo"].reason == "UNSUPPORTED"
    assert details["BadRequest"].field_violations[0].field == "model_mount_path"


async def test_defaults_of_a_deployment_are_filled_in_and_come_back_when_cleared(client: Client) -> None:
    await create_house(client)
    await create_blue(client, instance_count=3)
    get = deployment_service_pb2.GetDeploymentRequest(name=BLUE)
    blue = await client.deployments.GetDeployment(get)
    assert (blue.instance_count, blue.request_settings.request_timeout_ms) == (3, 5000)
    assert (blue.readiness_probe.initial_delay_seconds, blue.liveness_probe.failure_threshold) == (10.0, 30)
    await client.deployments.UpdateDeployment(
        deployment_service_pb2.UpdateDeploymentRequest(
            deployment=deployment_pb2.Deployment(
                name=BLUE, request_settings=deployment_pb2.RequestSettings(max_queue_wait_ms=7)
            ),
            update_mask=FieldMask(paths=["instance_count", "request_settings.max_queue_wait_ms"]),
        )
    )
    blue = await client.deployments.GetDeployment(get)
    assert (blue.instance_count, blue.request_settings.max_queue_wait_ms) == (1, 7)
    assert blue.code_configuration.scoring_script == "score.py"
    with pytest.raises(grpc.aio.AioRpcError, match="did you mean 'instance_count'"):
        await client.deployments.UpdateDeployment(
            deployment_service_pb2.UpdateDeploymentRequest(
                deployment=deployment_pb2.Deployment(name=BLUE), update_mask=FieldMask(paths=["instance_counts"])
            )
        )


async def test_a_deployment_with_traffic_stays_until_the_gateway_let_go_of_it(client: Client) -> None:
    await create_house(client)
    await create_blue(client)
    house = await get_house(client)
    delete = deployment_service_pb2.DeleteDeploymentRequest(name=BLUE)
    set_traffic = endpoint_service_pb2.UpdateEndpointRequest(
        endpoint=endpoint_pb2.Endpoint(name=HOUSE, traffic={"blue": 100}), update_mask=FieldMask(paths=["traffic"])
    )
    await client.endpoints.UpdateEndpoint(set_traffic)
    done = Report(2, ProvisioningState.SUCCEEDED)
    assert await client.platform.desired.report_endpoint(house.uid, done, {"blue": 100})
    with pytest.raises(grpc.aio.AioRpcError, match="100 %") as refusal:
        await client.deployments.DeleteDeployment(delete)
    _, details = info(refusal.value)
    assert details["ErrorInfo"].reason == "DEPLOYMENT_HAS_TRAFFIC"
    assert "to 0 first" in details["LocalizedMessage"].message
    set_traffic.endpoint.traffic["blue"] = 0
    await client.endpoints.UpdateEndpoint(set_traffic)
    with pytest.raises(grpc.aio.AioRpcError, match="still sends traffic"):
        await client.deployments.DeleteDeployment(delete)
    assert await client.platform.desired.report_endpoint(house.uid, Report(3, ProvisioningState.SUCCEEDED), {})
    operation = await client.deployments.DeleteDeployment(delete)
    assert not operation.done


async def test_lists_of_deployments_go_across_endpoints(client: Client) -> None:
    await create_house(client)
    await create_blue(client)
    listed = await client.deployments.ListDeployments(
        deployment_service_pb2.ListDeploymentsRequest(parent="endpoints/-")
    )
    assert [deployment.name for deployment in listed.deployments] == [BLUE]
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.deployments.ListDeployments(
            deployment_service_pb2.ListDeploymentsRequest(parent="endpoints/nobody")
        )
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


async def test_keys_are_shown_replaced_and_never_stored_in_clear(client: Client) -> None:
    await create_house(client)
    name = endpoint_service_pb2.ListKeysRequest(name=HOUSE)
    keys = await client.endpoints.ListKeys(name)
    again = await client.endpoints.RegenerateKey(
        endpoint_service_pb2.RegenerateKeyRequest(name=HOUSE, key_type=endpoint_service_pb2.KEY_TYPE_SECONDARY)
    )
    assert again.primary_key == keys.primary_key
    assert again.secondary_key != keys.secondary_key
    assert await client.endpoints.ListKeys(name) == again
    with pytest.raises(grpc.aio.AioRpcError, match="printable"):
        await client.endpoints.RegenerateKey(
            endpoint_service_pb2.RegenerateKeyRequest(
                name=HOUSE, key_type=endpoint_service_pb2.KEY_TYPE_PRIMARY, key_value="short"
            )
        )
    house = await get_house(client)
    await client.platform.store.close()  # folds the WAL into the file
    home = Path(client.address.removeprefix("unix:")).parent
    stored = (home / "penstock.db").read_bytes()
    assert house.uid.encode() in stored
    assert keys.primary_key.encode() not in stored


async def test_a_token_is_issued_and_revoked(client: Client) -> None:
    await create_house(client, auth_mode=endpoint_pb2.AUTH_MODE_AML_TOKEN)
    asked = endpoint_service_pb2.GetTokenRequest(name=HOUSE)
    token = await client.endpoints.GetToken(asked)
    assert (token.token_type, token.access_token.count(".")) == ("Bearer", 2)
    assert token.expiry_time.seconds > token.refresh_after_time.seconds > 0
    revoked = await client.endpoints.RevokeTokens(endpoint_service_pb2.RevokeTokensRequest(name=HOUSE))
    later = await client.endpoints.GetToken(asked)
    assert later.expiry_time.seconds - LIFETIME.total_seconds() >= revoked.not_before_time.seconds
    await client.platform.store.close()  # folds the WAL into the file
    home = Path(client.address.removeprefix("unix:")).parent
    assert token.access_token.rpartition(".")[2].encode() not in (home / "penstock.db").read_bytes()


async def test_an_endpoint_for_tokens_has_no_keys(client: Client) -> None:
    await create_house(client, auth_mode=endpoint_pb2.AUTH_MODE_AML_TOKEN)
    with pytest.raises(grpc.aio.AioRpcError, match="tokens"):
        await client.endpoints.ListKeys(endpoint_service_pb2.ListKeysRequest(name=HOUSE))


async def test_watching_tells_every_state_until_the_end(client: Client) -> None:
    await create_house(client)
    watch = client.endpoints.WatchEndpoint(endpoint_service_pb2.WatchEndpointRequest(name=HOUSE))
    first = await watch.read()
    assert (first.endpoint.generation, list(first.deployments)) == (1, [])
    await create_blue(client)
    second = await watch.read()
    assert [deployment.name for deployment in second.deployments] == [BLUE]
    deleted = await client.endpoints.DeleteEndpoint(endpoint_service_pb2.DeleteEndpointRequest(name=HOUSE))
    assert (await watch.read()).endpoint.provisioning_state == common_pb2.PROVISIONING_STATE_DELETING
    desired, uid = client.platform.desired, first.endpoint.uid
    await desired.mark_deployments_deleting(uid)
    await desired.remove_deployment(second.deployments[0].uid)
    await desired.remove_endpoint(uid)
    rest = [response async for response in watch]
    assert rest[-1].deleted
    assert not any(response.deleted for response in rest[:-1])
    done = await client.operations.GetOperation(operations_proto_pb2.GetOperationRequest(name=deleted.name))
    assert done.done
    assert done.response.type_url.endswith("google.protobuf.Empty")
