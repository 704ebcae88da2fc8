"""The wheel with the oldest and the newest libraries it takes: grpc/listener.py stands on grpcio's internals."""

import os
import subprocess
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from penstock_scorer.grpc.generated import inference_pb2 as pb

pytestmark = [pytest.mark.integration]

SCRIPT = """
import grpc, google.protobuf, numpy
def init(): pass
def infer(inputs):
    return {**inputs, "versions": numpy.array([grpc.__version__, google.protobuf.__version__, numpy.__version__])}
"""
OLDEST = ("grpcio==1.60.0", "protobuf==4.25.0", "numpy==1.23.5")
NEWEST = ("grpcio", "protobuf", "numpy")


def interpreter(minor: str) -> str | None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(path) for path in sorted(root.glob(f"3.{minor}.*/bin/python3"))), None)


@pytest.mark.parametrize(("minor", "libraries"), [("10", OLDEST), ("11", OLDEST), ("13", NEWEST)])
def test_grpc_is_served(minor: str, libraries: Any, wheel: Path, tmp_path: Path, serve: Any) -> None:
    base = interpreter(minor)
    if base is None:
        pytest.skip(f"there is no Python 3.{minor} on this machine")
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run(["uv", "venv", "-q", "--python", base, str(tmp_path / "venv")], check=True)
    install = ["uv", "pip", "install", "-q", "--only-binary", ":all:", "--python", python]
    subprocess.run([*install, f"{wheel}[grpc]", *libraries], check=True)
    server = serve(SCRIPT, "--grpc_uds", "g", python=python)
    array = np.random.default_rng(0).random(2**18, np.float32)
    request = pb.ModelInferRequest(model_name="model", raw_input_contents=[array.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    with grpc.insecure_channel(f"unix:{Path(server.uds).parent}/g") as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString,
        )
        for answer in stream(iter([request, request]), timeout=20):
            assert not answer.error_message
            assert answer.infer_response.raw_output_contents[0] == array.tobytes()
        nothing = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
        with pytest.raises(grpc.RpcError, match="There is no such method"):
            nothing(b"", timeout=20)
    if libraries is OLDEST:
        for wanted in libraries:
            assert wanted.partition("==")[2].encode() in answer.infer_response.raw_output_contents[1]
    assert server.stop() == 0


def test_without_the_extra_the_start_says_what_to_install(wheel: Path, tmp_path: Path, serve: Any) -> None:
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run(["uv", "venv", "-q", "--python", interpreter("11") or "3.11", str(tmp_path / "venv")], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", python, str(wheel)], check=True)
    script = "def init(): pass\ndef run(data): return 1"
    failed = serve(script, "--grpc_uds", "g", python=python, ready=False)
    assert failed.process.wait(20) == 1
    assert "pip install 'penstock-scorer[grpc]'" in failed.err.read_text()
    server = serve(script, python=python)
    assert server.get("/v2/models/model").status == 200
    answer = server.request("POST", "/v2/models/model/infer", b"{}")
    assert (answer.status, b"pip install 'penstock-scorer[v2]'" in answer.body) == (501, True)
