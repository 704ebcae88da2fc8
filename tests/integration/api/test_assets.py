"""Models, environments and uploads over a real socket, with the stubs that clients use."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from penstock.v1 import (
    asset_pb2,
    asset_service_pb2,
    deployment_service_pb2,
    environment_pb2,
    environment_service_pb2,
    model_pb2,
    model_service_pb2,
)
from tests.integration.api.house import BLUE, create_blue, create_house, folder, info
from tests.support.api import Client

pytestmark = pytest.mark.integration


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
