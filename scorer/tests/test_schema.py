"""``@input_schema`` with the real ``inference-schema``, in an environment of its own: it pins an old wrapt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

SCRIPT = """
import numpy as np
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init(): pass

@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
@input_schema("method", StandardPythonParameterType("predict"), optional=True)
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data, method="sum"):
    return data.sum(axis=1) if method == "sum" else method
"""
RENAMED = """
import numpy as np
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType

def init(): pass

@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
def run(raw_data): return raw_data.tolist()
"""


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    venv = tmp_path_factory.mktemp("schema") / "venv"
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    interpreter = str(venv / "bin" / "python")
    packages = [str(wheel), "inference-schema[numpy-support]>=1.8", "numpy"]
    subprocess.run(["uv", "pip", "install", "-q", "--python", interpreter, *packages], check=True)
    return interpreter


def test_schema_inputs(serve: Any, python: str) -> None:
    server = serve(SCRIPT, python=python)
    cases: list[tuple[str, str, int, Any]] = [
        ('{"data": [[1, 2], [3, 4]]}', "application/json", 200, [3.0, 7.0]),
        ('{"data": [[1, 2]], "method": "other", "extra": 1}', "application/json; charset=utf-8", 200, "other"),
        ("{}", "application/json", 400, {"message": "A value is not provided for the 'data' parameter."}),
        ("[]", "application/json", 400, {"message": "POST body should be a JSON dictionary."}),
        ("", "application/json", 400, {"message": "POST body is empty. Expecting a JSON dictionary."}),
        ('{"data": [[1]]}', "text/plain", 415, {"message": "Expects Content-Type to be application/json"}),
    ]
    for body, content_type, status, expected in cases:
        answer = server.request("POST", "/score", body, content_type=content_type)
        assert (answer.status, json.loads(answer.body)) == (status, expected)
    broken = server.score("{")
    assert broken.status == 400
    assert json.loads(broken.body)["message"].startswith("POST body could not be decoded as JSON: Expecting property")
    wrong = server.score('{"data": [[1, 2, 3]]}')
    assert (wrong.status, wrong.headers["x-ms-run-function-failed"]) == (500, "True")
    assert json.loads(server.get("/score?data=[[1,2]]").body) == [3.0]
    document = json.loads(server.get("/swagger.json").body)
    assert document["definitions"]["ServiceInput"]["example"] == {"data": [[1.0, 2.0]], "method": "predict"}


def test_a_schema_named_differently_from_the_parameter(serve: Any, python: str) -> None:
    server = serve(RENAMED, python=python)
    assert json.loads(server.score('{"data": [[1, 2]]}').body) == [[1.0, 2.0]]
    assert "taken as the same parameter" in server.err.read_text()
    document = json.loads(server.get("/swagger.json").body)
    assert list(document["definitions"]["ServiceInput"]["properties"]) == ["data"]
