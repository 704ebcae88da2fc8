"""Every service over a real socket, with the stubs that clients use."""

from __future__ import annotations

import asyncio
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_proto_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.domain.ports import LogKind, LogLines
from controlplane.domain.records import Report
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from penstock.v1 import (
    asset_pb2,
    asset_service_pb2,
    common_pb2,
    deployment_pb2,
    deployment_service_pb2,
    endpoint_pb2,
    endpoint_service_pb2,
    environment_pb2,
    environment_service_pb2,
    instance_pb2,
    instance_service_pb2,
    model_pb2,
    model_service_pb2,
    operation_pb2,
    platform_service_pb2,
)
from tests.support.api import TOKEN, Client, bearer, open_client
from tests.support.platform import LIFETIME

pytestmark = pytest.mark.integration

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


async def test_models_get_the_next_integer_and_keep_their_content(client: Client) -> None:
    asset = await client.upload(b"model", "model.pkl")
    create = model_service_pb2.CreateModelRequest(model_id="diabetes", model=model_pb2.Model(asset=asset.name))
    assert (await client.models.CreateModel(create)).name == "models/diabetes/versions/1"
    assert (await client.models.CreateModel(create)).name == "models/diabetes/versions/2"
    latest = model_service_pb2.GetModelRequest(name="models/diabetes/versions/latest")
    assert (await client.models.GetModel(latest)).name == "models/diabetes/versions/2"
    await client.models.DeleteModel(model_service_pb2.DeleteModelRequest(name="models/diabetes/versions/2"))
    assert (await client.models.CreateModel(create)).name == "models/diabetes/versions/3"
    with pytest.raises(grpc.aio.AioRpcError, match="already"):
        await client.models.CreateModel(
            model_service_pb2.CreateModelRequest(model_id="diabetes", version="3", model=create.model)
        )
    updated = await client.models.UpdateModel(
        model_service_pb2.UpdateModelRequest(
            model=model_pb2.Model(name="models/diabetes/versions/1", tags={"a": "b"}),
            update_mask=FieldMask(paths=["tags"]),
        )
    )
    assert (updated.tags, updated.asset) == ({"a": "b"}, asset.name)
    with pytest.raises(grpc.aio.AioRpcError, match="cannot be changed"):
        await client.models.UpdateModel(
            model_service_pb2.UpdateModelRequest(model=updated, update_mask=FieldMask(paths=["asset"]))
        )
    anonymous = model_pb2.Model(asset=asset.name, anonymous=True)
    await client.models.CreateModel(model_service_pb2.CreateModelRequest(model_id="passing", model=anonymous))
    listed = await client.models.ListModels(model_service_pb2.ListModelsRequest(parent="models/-"))
    assert [model.name[-1] for model in listed.models] == ["1", "3"]
    listed = await client.models.ListModels(model_service_pb2.ListModelsRequest(filter="anonymous = true"))
    assert [model.name for model in listed.models] == ["models/passing/versions/1"]


async def test_what_a_deployment_uses_cannot_be_deleted(client: Client) -> None:
    asset = await client.upload(b"model", "model.pkl")
    await client.models.CreateModel(
        model_service_pb2.CreateModelRequest(model_id="diabetes", model=model_pb2.Model(asset=asset.name))
    )
    await client.environments.CreateEnvironment(
        environment_service_pb2.CreateEnvironmentRequest(
            environment_id="plain", environment=environment_pb2.Environment(pip_requirements="numpy")
        )
    )
    await create_house(client)
    await create_blue(client, model="models/diabetes/versions/latest", environment="environments/plain/versions/latest")
    blue = await client.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=BLUE))
    assert (blue.model, blue.environment) == ("models/diabetes/versions/1", "environments/plain/versions/1")
    for delete in (
        client.models.DeleteModel(model_service_pb2.DeleteModelRequest(name=blue.model)),
        client.environments.DeleteEnvironment(environment_service_pb2.DeleteEnvironmentRequest(name=blue.environment)),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=BLUE) as refusal:
            await delete
        assert info(refusal.value)[1]["ErrorInfo"].reason == "RESOURCE_IN_USE"


async def test_environments_keep_everything_they_are_given(client: Client) -> None:
    asset = await client.upload(folder(Dockerfile="FROM scratch"), "context", asset_pb2.ASSET_KIND_FOLDER)
    given = environment_pb2.Environment(
        build=environment_pb2.ImageBuild(asset=asset.name, dockerfile_path="Dockerfile"),
        inference_config=environment_pb2.InferenceConfig(
            scoring_route=environment_pb2.HttpRoute(port=5001, path="/score")
        ),
        description="d",
        tags={"a": "b"},
    )
    made = await client.environments.CreateEnvironment(
        environment_service_pb2.CreateEnvironmentRequest(environment_id="image", environment=given)
    )
    for output in ("name", "uid", "etag", "create_time"):
        made.ClearField(output)
    assert made == given


async def test_an_upload_is_there_afterwards_under_its_own_name(client: Client) -> None:
    asset = await client.upload(b"x" * 5000, "model.pkl")
    assert (asset.basename, asset.size_bytes) == ("model.pkl", 5000)
    renamed = await client.upload(b"x" * 5000, "other.pkl")
    assert renamed.name != asset.name
    got = await client.assets.GetAsset(asset_service_pb2.GetAssetRequest(name=asset.name))
    assert got == asset
    code = await client.upload(folder(**{"pkg__score.py": "x = 1"}), "src", asset_pb2.ASSET_KIND_FOLDER)
    async with client.platform.store.read() as transaction:
        record = await transaction.assets.get(code.name.partition(":")[2])
    assert record is not None
    assert (client.blobs.path(record.asset) / "pkg" / "score.py").read_text() == "x = 1"


async def test_content_that_is_there_is_answered_before_it_is_sent(client: Client) -> None:
    asset = await client.upload(b"model", "model.pkl")
    call = client.assets.UploadAsset()
    header = asset_service_pb2.AssetHeader(
        sha256="9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4",
        size_bytes=5,
        kind=asset_pb2.ASSET_KIND_FILE,
        basename="model.pkl",
    )
    await call.write(asset_service_pb2.UploadAssetRequest(header=header))
    assert await call == asset


async def test_a_wrong_hash_leaves_nothing(client: Client) -> None:
    call = client.assets.UploadAsset()
    header = asset_service_pb2.AssetHeader(
        sha256="0" * 64, size_bytes=3, kind=asset_pb2.ASSET_KIND_FILE, basename="model.pkl"
    )
    await call.write(asset_service_pb2.UploadAssetRequest(header=header))
    await call.write(asset_service_pb2.UploadAssetRequest(chunk=b"abc"))
    await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError, match="did not arrive as announced") as refusal:
        await call
    assert info(refusal.value)[1]["ErrorInfo"].reason == "CHECKSUM_MISMATCH"


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
