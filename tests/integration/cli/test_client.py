"""Both clients against a control plane in memory."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc import code_pb2

import penstock
from penstock import aio, errors, manifest
from penstock.retry import Retry
from penstock.v1.endpoint_pb2 import Endpoint
from tests.integration.cli.conftest import QUICK
from tests.integration.cli.fake_platform import TOKEN, FakePlatform, status_of

pytestmark = pytest.mark.integration


def test_an_endpoint_is_created_read_listed_changed_and_deleted(client: penstock.Client) -> None:
    made = client.endpoints.create("diabetes", Endpoint(description="d", tags={"a": "b"})).wait()
    assert (made.name, made.description, made.tags) == ("endpoints/diabetes", "d", {"a": "b"})
    assert client.endpoints.get("diabetes") == made
    for name in ("other", "third", "fourth", "fifth"):
        client.endpoints.create(name).wait()
    names = [e.name.removeprefix("endpoints/") for e in client.endpoints.list()]
    assert names == ["diabetes", "fifth", "fourth", "other", "third"]
    assert client.endpoints.update("other", Endpoint(description="x"), ["description"]).wait().description == "x"
    assert client.endpoints.delete("diabetes").wait() is None
    with pytest.raises(errors.NotFoundError, match="there is no endpoint 'diabetes'") as caught:
        client.endpoints.get("diabetes")
    assert (caught.value.reason, caught.value.code) == ("ENDPOINT_NOT_FOUND", "NOT_FOUND")
    assert caught.value.resource == "endpoints/diabetes"


async def test_the_asyncio_client_does_the_same(target: str) -> None:
    async with aio.Client(target, TOKEN, retry=QUICK) as client:
        made = await (await client.endpoints.create("diabetes")).wait()
        assert await client.endpoints.get("diabetes") == made
        assert [e.name for e in await client.endpoints.list()] == ["endpoints/diabetes"]
        assert [s.deleted async for s in client.endpoints.watch("diabetes")] == [False, True]
        assert (await client.endpoints.keys("diabetes")).primary_key == "primary-key-0123456"
        with pytest.raises(errors.AlreadyExistsError):
            await client.endpoints.create("diabetes")
        assert (await client.status()).endpoints == 1


def test_waiting_tells_each_progress_once_and_returns_the_resource(
    client: penstock.Client, platform: FakePlatform
) -> None:
    platform.waits, platform.progress = 3, ["building", "building", "starting"]
    said: list[str] = []
    assert client.endpoints.create("diabetes").wait(progress=said.append).name == "endpoints/diabetes"
    assert said == ["building", "starting"]


def test_a_failed_operation_raises_the_cause_with_the_users_traceback(
    client: penstock.Client, platform: FakePlatform
) -> None:
    platform.fail.append(
        status_of(code_pb2.ABORTED, "InitFailed", "init() failed: KeyError: 'x'", hint="h", detail="Traceback...")
    )
    with pytest.raises(errors.OperationFailedError, match=r"init\(\) failed: KeyError: 'x'") as caught:
        client.endpoints.create("diabetes").wait()
    assert (caught.value.reason, caught.value.hint, caught.value.detail) == ("InitFailed", "h", "Traceback...")


def test_waiting_ends_at_its_deadline_and_the_operation_goes_on(
    client: penstock.Client, platform: FakePlatform
) -> None:
    platform.waits = 1000
    operation = client.endpoints.create("diabetes")
    with pytest.raises(errors.DeadlineError, match="has not ended within"):
        operation.wait(timeout=0.15)
    platform.settle(operation.name)
    assert operation.wait(timeout=5).name == "endpoints/diabetes"


def test_reads_are_made_again_while_nothing_answers_and_changes_are_not(
    client: penstock.Client, platform: FakePlatform
) -> None:
    client.endpoints.create("diabetes").wait()
    platform.calls.clear()
    platform.unavailable = 2
    assert client.endpoints.get("diabetes").name == "endpoints/diabetes"
    assert platform.calls == ["GetEndpoint"] * 3
    platform.unavailable = 1
    with pytest.raises(errors.UnavailableError):
        client.endpoints.set_traffic("diabetes", {})
    assert platform.calls.count("UpdateEndpoint") == 1


def test_waiting_survives_a_restart_of_the_control_plane(client: penstock.Client, platform: FakePlatform) -> None:
    operation = client.endpoints.create("diabetes")
    platform.operations[operation.name].done = False
    operation._state.done = False
    platform.unavailable = 3
    assert operation.wait().name == "endpoints/diabetes"


def test_nothing_at_the_target_is_said_in_one_sentence(folder: Path) -> None:
    retry = Retry(attempts=1, first_seconds=0.001)
    with (
        penstock.Client(f"unix:{folder / 'none.sock'}", "x", retry=retry) as client,
        pytest.raises(errors.UnavailableError, match=r"nothing answers at unix:.*none\.sock") as caught,
    ):
        client.status()
    assert "penstock up" in caught.value.hint


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_wrong_token_is_refused(target: str, token: str) -> None:
    with penstock.Client(target, token) as client, pytest.raises(errors.UnauthenticatedError, match="admin token"):
        client.status()


def test_traffic_that_names_nothing_says_which_field(client: penstock.Client) -> None:
    client.endpoints.create("diabetes").wait()
    with pytest.raises(errors.InvalidTrafficError) as caught:
        client.endpoints.set_traffic("diabetes", {"blue": 100})
    assert [v.field for v in caught.value.violations] == ["traffic"]


def test_an_etag_that_moved_on_is_its_own_error(client: penstock.Client) -> None:
    client.endpoints.create("diabetes").wait()
    with pytest.raises(errors.EtagMismatchError):
        client.endpoints.update("diabetes", Endpoint(etag="99", description="x"), ["description"])


def test_keys_are_regenerated_apart(client: penstock.Client) -> None:
    client.endpoints.create("diabetes").wait()
    before = client.endpoints.keys("diabetes")
    after = client.endpoints.regenerate_key("diabetes", secondary=True)
    assert after.primary_key == before.primary_key
    assert after.secondary_key != before.secondary_key


def test_a_folder_arrives_whole_and_is_sent_once(
    client: penstock.Client, platform: FakePlatform, tmp_path: Path
) -> None:
    source = tmp_path / "src"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "x.pyc").write_bytes(b"x")
    (source / "score.py").write_text("def init(): ...\n")
    (source / "weights.bin").write_bytes(bytes(3 << 20))
    sent: list[tuple[int, int]] = []
    asset = client.assets.upload(source, progress=lambda done, total: sent.append((done, total)))
    assert asset.basename == "src"
    assert sent[-1][0] == sent[-1][1] == asset.size_bytes
    with tarfile.open(fileobj=io.BytesIO(platform.assets[asset.name][1])) as archive:
        assert sorted(archive.getnames()) == ["score.py", "weights.bin"]
    assert client.assets.upload(source) == asset
    assert client.assets.get(asset.name) == asset


async def test_a_folder_arrives_whole_through_asyncio(target: str, platform: FakePlatform, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(5 << 20))
    async with aio.Client(target, TOKEN) as client:
        asset = await client.assets.upload(tmp_path / "model.bin")
    assert platform.assets[asset.name][1] == bytes(5 << 20)


def _vanishing(_: object) -> Iterator[bytes]:
    yield b"x"
    raise errors.SourceError("it became shorter while it was read")


def test_a_source_that_fails_is_the_error_that_is_raised(
    client: penstock.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: FakePlatform
) -> None:
    (tmp_path / "m").write_bytes(b"xy")
    monkeypatch.setattr("penstock.package.Package.chunks", _vanishing)
    with pytest.raises(errors.SourceError, match="became shorter"):
        client.assets.upload(tmp_path / "m")
    assert not platform.assets


async def test_a_source_that_fails_is_the_error_that_is_raised_through_asyncio(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").write_bytes(b"xy")
    monkeypatch.setattr("penstock.package.Package.chunks", _vanishing)
    async with aio.Client(target, TOKEN) as client:
        with pytest.raises(errors.SourceError, match="became shorter"):
            await client.assets.upload(tmp_path / "m")


def test_publishing_twice_registers_once(client: penstock.Client, platform: FakePlatform, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def init(): ...\n")
    (tmp_path / "m.pkl").write_bytes(b"weights")
    written = manifest.ManifestDeployment(
        name="blue",
        endpoint_name="diabetes",
        model=manifest.ManifestModel(path=tmp_path / "m.pkl"),
        code=manifest.Code(tmp_path / "src", "score.py"),
        environment=manifest.ManifestEnvironment(conda_file="dependencies: [python]"),
        instance_count=2,
    )
    first, second = client.publisher.deployment(written), client.publisher.deployment(written)
    assert first == second
    assert first.instance_count == 2
    assert list(platform.models) == [first.model]
    assert platform.models[first.model].anonymous
    assert list(platform.environments) == [first.environment]


def test_labels_that_a_manifest_gives_are_brought_up_to_date(client: penstock.Client, tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"one")
    client.publisher.model(manifest.ManifestModel(path=path, name="m", description="first", tags={"a": "b"}))
    model = client.publisher.model(manifest.ManifestModel(path=path, name="m", description="second"))
    assert (model.name, model.description, dict(model.tags)) == ("models/m/versions/1", "second", {"a": "b"})
    packages = "dependencies: [python]"
    client.publisher.environment(manifest.ManifestEnvironment(name="e", conda_file=packages))
    made = client.publisher.environment(manifest.ManifestEnvironment(name="e", conda_file=packages, tags={"c": "d"}))
    assert (made.name, dict(made.tags)) == ("environments/e/versions/1", {"c": "d"})


def test_a_named_version_never_changes(client: penstock.Client, tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"one")
    fixed = manifest.ManifestModel(path=path, name="m", version="1")
    growing = manifest.ManifestModel(path=path, name="n")
    assert client.publisher.model(fixed).name == "models/m/versions/1"
    assert client.publisher.model(growing).name == client.publisher.model(growing).name == "models/n/versions/1"
    path.write_bytes(b"two")
    assert client.publisher.model(growing).name == "models/n/versions/2"
    with pytest.raises(errors.AlreadyExistsError, match="version 1 of the model 'm' is already registered"):
        client.publisher.model(fixed)


def test_logs_and_instances(client: penstock.Client, platform: FakePlatform) -> None:
    client.endpoints.create("diabetes").wait()
    client.deployments.create("diabetes", "blue", penstock.v1.deployment_pb2.Deployment()).wait()
    assert [line for piece in client.deployments.logs("diabetes", "blue", lines=1) for line in piece.lines] == [
        "line two"
    ]
    pieces = list(client.deployments.logs("diabetes", "blue", storage_initializer=True))
    assert [line for piece in pieces for line in piece.lines] == ["built"]
    assert [i.pid for i in client.deployments.instances("diabetes", "blue")] == [1234]


class _Scorer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.headers["Authorization"] == "Bearer primary-key-0123456"
        answer = body if good else b'{"error": {"code": "Unauthorized", "message": "the key is wrong"}}'
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("azureml-model-deployment", self.headers.get("azureml-model-deployment", "blue"))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def scorer(platform: FakePlatform) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Scorer) as server:
        platform.scoring_base = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_invoke_uses_the_primary_key_and_names_who_answered(client: penstock.Client, scorer: None) -> None:
    client.endpoints.create("diabetes").wait()
    answer = client.invoke("diabetes", {"data": [1]})
    assert (answer.json(), answer.deployment) == ({"data": [1]}, "blue")
    assert client.invoke("diabetes", "[]", deployment="green").deployment == "green"
    with pytest.raises(errors.InvokeError, match="'diabetes' answered 401: the key is wrong") as caught:
        client.invoke("diabetes", "[]", credential="wrong")
    assert caught.value.status == 401


async def test_invoke_through_asyncio(target: str, scorer: None) -> None:
    async with aio.Client(target, TOKEN) as client:
        await (await client.endpoints.create("diabetes")).wait()
        assert (await client.invoke("diabetes", [1, 2])).json() == [1, 2]


def test_an_endpoint_that_cannot_be_reached(client: penstock.Client, platform: FakePlatform) -> None:
    platform.scoring_base = "http://127.0.0.1:9"
    client.endpoints.create("diabetes").wait()
    with pytest.raises(errors.InvokeError, match="cannot be reached") as caught:
        client.invoke("diabetes", {})
    assert caught.value.status == 0


def test_metrics_are_read_and_watched(client: penstock.Client) -> None:
    client.endpoints.create("house").wait()
    assert client.endpoints.metrics("house").refused.outcomes[0].total == 3
    assert [m.name for m in client.endpoints.watch_metrics("house", 1)] == ["endpoints/house"] * 2
