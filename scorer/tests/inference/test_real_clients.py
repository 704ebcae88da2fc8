"""``tritonclient`` and ``kserve`` against the real server, in an environment of their own: their pins are not ours."""

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration]

SCRIPT = """
import numpy as np
def init(): pass
def infer(inputs, parameters):
    scale = parameters.get("scale", 1)
    return inputs if scale == 1 else {name: array * scale for name, array in inputs.items()}
"""
PIECES = """
def init(): pass
def infer(inputs):
    for element in inputs["x"]: yield {"y": element[None]}
"""
PLAIN = """
import json
def init(): pass
def run(data): return json.loads(data)["data"]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    venv = tmp_path_factory.mktemp("clients") / "venv"
    python = str(venv / "bin" / "python")
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    # With protobuf 6, which both accept.
    packages = ["tritonclient[http,grpc]>=2.60", "kserve>=0.15", "protobuf<7"]
    subprocess.run(["uv", "pip", "install", "-q", "--python", python, *packages], check=True)
    return python


def free_ports() -> tuple[str, str]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return str(first.getsockname()[1]), str(second.getsockname()[1])


def wait_ready(server: Any, port: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert server.process.poll() is None, server.err.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError("not ready")


@pytest.mark.parametrize("which", ["triton-http", "triton-grpc", "triton-pieces", "kserve"])
def test_real_clients(which: str, python: str, serve: Any) -> None:
    port, grpc_port = free_ports()
    text = PIECES if which == "triton-pieces" else SCRIPT
    server = serve(text, "--port", port, "--grpc_port", grpc_port, ready=False, SERVICE_NAME="iris")
    wait_ready(server, port)
    client = [python, str(Path(__file__).with_name("real_clients.py")), port, grpc_port, which]
    found = subprocess.run(client, check=False, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr + server.err.read_text()
    assert server.stop() == 0


def test_a_plain_script_through_tritonclient(python: str, serve: Any) -> None:
    port, grpc_port = free_ports()
    server = serve(PLAIN, "--port", port, "--grpc_port", grpc_port, ready=False)
    wait_ready(server, port)
    code = f"""
import numpy as np, tritonclient.http as h, tritonclient.grpc as g
for m, url in ((h, "127.0.0.1:{port}"), (g, "127.0.0.1:{grpc_port}")):
    client = m.InferenceServerClient(url)
    sent = m.InferInput("input-0", (2, 2), "INT64")
    sent.set_data_from_numpy(np.array([[1, 2], [3, 4]]))
    assert client.infer("model", [sent]).as_numpy("output-0").tolist() == [[1, 2], [3, 4]]
    asked = client.infer("model", [sent], outputs=[m.InferRequestedOutput("y")])
    assert asked.as_numpy("y").tolist() == [[1, 2], [3, 4]]
"""
    subprocess.run([python, "-W", "ignore", "-c", code], check=True, timeout=60)
