"""schemathesis drives the server by its own description: every answer is one that the description allows."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.generation import GenerationMode

from scorer.tests.differential import servers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SCRIPTS = {
    "undecorated": "def init(): pass\ndef run(data): return {'length': len(data)}",
    "decorated": """
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
def init(): pass
@input_schema("options", StandardPythonParameterType({"shout": True, "times": 1}))
@input_schema("tags", StandardPythonParameterType(["a"]))
@output_schema(StandardPythonParameterType({"seen": [1]}))
def run(options, tags):
    return {"seen": [len(str(options)), len(str(tags))]}
""",
}
# Left out: GET and OPTIONS of /score are served though only POST is described, as the peer's are.
checks.load_all_checks()
CHECKS = checks.CHECKS.get_by_names(
    [
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance",
    ]
)  # fmt: skip

(SERVER_ERROR,) = checks.CHECKS.get_by_names(["not_a_server_error"])


@pytest.fixture(params=SCRIPTS)
def address(request, tmp_path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "score.py").write_text(SCRIPTS[request.param])
    command = ["-m", "penstock_scorer", "--entry_script", "score.py", "--port", str(port)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [servers.interpreter("ours"), *command], stdout=log, stderr=log, env=environ, cwd=tmp_path
        )
    try:
        eventually_listens(port)
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None
        assert "fault in the scorer" not in (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(40)


def eventually_listens(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("not ready")


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("version", ["2", "3", "3.1"])
def test_the_server_keeps_to_its_description(address, version, mode):
    """With data as it is described, and with data that breaks the description somewhere."""
    schema = schemathesis.openapi.from_url(f"{address}/swagger.json?version={version}")
    for result in schema.get_all_operations():
        check_operation(result.ok(), address, mode)


def check_operation(operation, address, mode):
    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        response = case.call(base_url=address)
        # What a script raises for data of another kind than it expects is its own 500.
        own = response.status_code == 500 and response.headers["x-ms-run-function-failed"] == ["True"]
        case.validate_response(response, checks=[check for check in CHECKS if not own or check is not SERVER_ERROR])

    if mode is GenerationMode.POSITIVE or operation.body:
        check()
