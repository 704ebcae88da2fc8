"""gRPC as a user meets it: the same port, the same keys, the same rules as over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from penstock_scorer.grpc.generated import inference_pb2 as pb

from tests.e2e.files import deployment_yaml, endpoint_yaml
from tests.e2e.grpc_load import SCORE, Caller, load, request
from tests.e2e.platform import Platform, free_port

pytestmark = pytest.mark.timeout(600)

TRITON = Path(__file__).with_name("triton.py")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the public client, whose pins are not ours."""
    venv = tmp_path_factory.mktemp("triton") / "venv"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, "tritonclient[grpc]>=2.60"], check=True)
    return python


def call(python: Path, *arguments: object) -> Any:
    done = subprocess.run([python, "-P", TRITON, *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


EXPECTED = {
    "ready": True,
    "live": True,
    "x": [1, 2, 3],
    "by": "blue",
    "pinned": "green",
    "streamed": ["0", "1", "2"],
    "wrong key": "StatusCode.UNAUTHENTICATED",
    "unknown endpoint": "StatusCode.NOT_FOUND",
    "unknown deployment": "StatusCode.NOT_FOUND",
}


def deploy(platform: Platform, folder: Path, endpoint: str, *names: str, auth_mode: str = "key", **how: Any) -> str:
    """An endpoint whose deployments answer with their tensors, all traffic to the first; its key, or a token."""
    platform.cli("online-endpoint", "create", "-f", endpoint_yaml(folder, endpoint, auth_mode))
    for number, name in enumerate(names):
        path = deployment_yaml(folder, endpoint, name, score=SCORE, **how)
        platform.cli("online-deployment", "create", "-f", path, *(["--all-traffic"] if number == 0 else []))
    return platform.key(endpoint) if auth_mode == "key" else platform.token(endpoint)


@pytest.fixture(scope="module")
def house(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key of an endpoint with two deployments."""
    return deploy(platform, tmp_path_factory.mktemp("house"), "house", "blue", "green")


@pytest.fixture
def caller(platform: Platform, house: str) -> Iterator[Caller]:
    with Caller(platform.gateway_port, "house", house) as caller:
        yield caller


def test_the_public_client(platform: Platform, house: str, triton: Path) -> None:
    assert call(triton, f"127.0.0.1:{platform.gateway_port}", "house", house) == EXPECTED


def test_weights_hold(platform: Platform, caller: Caller) -> None:
    platform.cli("online-endpoint", "update", "-n", "house", "--traffic", "blue=70 green=30")
    found = Counter(caller.infer().deployment for _ in range(600))
    assert found.total() == 600
    assert 0.22 < found["green"] / 600 < 0.38  # more than four standard deviations
    assert caller.infer(azureml_model_deployment="green").deployment == "green"
    platform.cli("online-endpoint", "update", "-n", "house", "--traffic", "blue=100 green=0")
    assert {caller.infer().deployment for _ in range(20)} == {"blue"}
    assert caller.infer(azureml_model_deployment="green").deployment == "green"


def test_no_call_fails_while_weights_change(platform: Platform, house: str) -> None:
    with load(platform.gateway_port, "house", house) as tally, platform.client() as client:
        for share in (50, 0, 100, 30, 70, 0, 100):
            client.endpoints.set_traffic("house", {"blue": share, "green": 100 - share}).wait()
            tally.more(30)
    assert tally.failures == []
    assert set(tally.by_deployment) == {"blue", "green"}


def test_errors_are_the_models_or_the_platforms(caller: Caller) -> None:
    model = caller.refused(parameters={"boom": 1.0})
    assert model == ("INTERNAL", "An unexpected error occurred in scoring script. Check the logs for more info.")
    began = time.monotonic()
    assert caller.refused(parameters={"sleep": 5.0}, timeout=0.5)[0] == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began < 4
    with Caller(caller.port, "house", "wrong") as stranger:
        assert stranger.refused()[0] == "UNAUTHENTICATED"
    with Caller(caller.port, "nowhere", caller.key) as lost:
        assert lost.refused()[0] == "NOT_FOUND"
    assert caller.refused(azureml_model_deployment="nobody")[0] == "NOT_FOUND"


def test_a_stream_is_a_conversation(caller: Caller) -> None:
    asked, heard = threading.Semaphore(1), []

    def requests() -> Iterator[bytes]:
        for number in range(5):
            assert asked.acquire(timeout=20)
            yield request("house", request_id=str(number))

    for message in caller.converse(requests()):
        answer = pb.ModelStreamInferResponse.FromString(message)
        heard.append(answer.infer_response.id)
        asked.release()
    assert heard == ["0", "1", "2", "3", "4"]


def test_tokens_open_it_too(platform: Platform, tmp_path: Path) -> None:
    token = deploy(platform, tmp_path, "signed", "blue", auth_mode="aml_token")
    with Caller(platform.gateway_port, "signed", token) as caller:
        assert caller.infer().deployment == "blue"
    with Caller(platform.gateway_port, "house", token) as elsewhere:
        assert elsewhere.refused()[0] == "UNAUTHENTICATED"


def test_more_than_it_may_run_is_refused(platform: Platform, tmp_path: Path) -> None:
    key = deploy(platform, tmp_path, "narrow", "blue", concurrent=1)

    def ask(_: int) -> str:
        with Caller(platform.gateway_port, "narrow", key) as caller:
            try:
                caller.infer(parameters={"sleep": 0.5})
            except grpc.RpcError as error:
                # grpcio's errors are calls, too, which its stubs do not say.
                return str(error.code().name)  # type: ignore[attr-defined]
            return "OK"

    with ThreadPoolExecutor(6) as pool:
        found = Counter(pool.map(ask, range(6)))
    # One runs, one waits: 2 x max_concurrent x instances.
    assert found == {"OK": 2, "RESOURCE_EXHAUSTED": 4}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_instance_is_killed_and_no_call_fails(platform: Platform, tmp_path: Path, workers: int) -> None:
    name, own = f"pair-{workers}", {"WORKER_COUNT": str(workers)}
    key = deploy(platform, tmp_path, name, "blue", instances=2, variables=own)
    with load(platform.gateway_port, name, key) as tally, platform.client() as client:
        tally.more(50)
        assert len(tally.instances) == 2 * workers
        for _ in range(4):
            killed, before = client.deployments.instances(name, "blue")[0].pid, len(tally.instances)
            os.kill(killed, signal.SIGKILL)
            tally.more(50)
            platform.until(lambda pid=killed: pid not in [i.pid for i in client.deployments.instances(name, "blue")])
            platform.until(lambda: client.deployments.get(name, "blue").ready_instances == 2)
            platform.until(lambda before=before: len(tally.instances) > before)
    assert tally.failures == []


def test_an_update_replaces_instances_and_no_call_fails(platform: Platform, tmp_path: Path) -> None:
    key = deploy(platform, tmp_path, "moving", "blue", instances=2)
    with load(platform.gateway_port, "moving", key) as tally, ThreadPoolExecutor(1) as pool:
        tally.more(30)
        with Caller(platform.gateway_port, "moving", key) as caller:
            long = pool.submit(caller.infer, parameters={"sleep": 3.0})
            changed = deployment_yaml(tmp_path, "moving", "blue", score=SCORE, instances=2, variables={"NEW": "yes"})
            platform.cli("online-deployment", "update", "-f", changed)
            assert long.result().instance in tally.instances
        tally.more(30)
    assert tally.failures == []
    assert len(tally.instances) == 4


def test_the_control_plane_is_killed_and_the_next_one_knows_the_addresses(platform: Platform, house: str) -> None:
    with load(platform.gateway_port, "house", house) as tally:
        platform.kill()
        tally.more(30)
        platform.start()
        with platform.client() as client:
            client.endpoints.set_traffic("house", {"blue": 0, "green": 100}).wait()
            tally.more(30)
            tally.by_deployment.clear()
            tally.more(30)
    assert tally.failures == []
    assert set(tally.by_deployment) == {"green"}


def test_under_tls(fresh_platform: Platform, tmp_path: Path, triton: Path) -> None:
    port = free_port()
    fresh_platform.flags = ("--tls-dev", "--tls-port", str(port))
    fresh_platform.start()
    key = deploy(fresh_platform, tmp_path, "house", "blue", "green")
    authority = fresh_platform.home / "tls" / "ca.pem"
    assert call(triton, f"localhost:{port}", "house", key, authority) == EXPECTED
    with Caller(fresh_platform.gateway_port, "house", key) as plain:
        assert plain.refused()[0] != "OK"
