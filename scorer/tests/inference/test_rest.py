"""The protocol over HTTP, without sockets."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.auth.policy import dump
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.errors import BadSignatureError, MetadataError
from penstock_scorer.inference import rest

ECHO = "def init(): pass\ndef infer(inputs): return inputs"
INFER = "/v2/models/model/infer"


def tensor(name: str = "x", datatype: str = "FP32", shape: Any = (2,), data: Any = (1, 2), **more: Any) -> Any:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data), **more}


def ask(app: Any, *inputs: Any, path: str = INFER, **more: Any) -> Any:
    return app("POST", path, json.dumps({"inputs": inputs, **more}).encode())


def binary(app: Any, request: Any, *contents: bytes) -> Any:
    head = json.dumps(request).encode()
    return app("POST", INFER, b"".join((head, *contents)), inference_header_content_length=str(len(head)))


def test_server_and_model_describe_themselves(app: Any) -> None:
    served = app(ECHO)
    server = served("GET", "/v2").json
    assert server["name"] == "penstock-scorer"
    assert server["extensions"] == ["binary_tensor_data", "parameters"]
    assert served("GET", "/v2/health/live").json == {"live": True}
    assert served("GET", "/v2/health/ready").json == {"ready": True}
    metadata = {"name": "model", "versions": ["1"], "platform": "python", "inputs": [], "outputs": []}
    for path in ("/v2/models/model", "/v2/models/model/versions/1"):
        assert served("GET", path).json == metadata
        assert served("GET", path + "/ready").json == {"name": "model", "ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v2/models/other", 404, "There is no model 'other': this server has 'model'."),
        ("GET", "/v2/models/%6Fther/ready", 404, "There is no model 'other'"),
        ("POST", "/v2/models/other/infer", 404, "There is no model 'other'"),
        ("GET", "/v2/models/model/versions/2", 404, "has no version '2': it has '1'"),
        ("POST", "/v2/models/model/versions/2/infer", 404, "has no version '2'"),
        ("GET", "/v2/nothing", 404, "not found"),
        ("GET", "/v2/model/infer", 404, "not found"),
        ("GET", "/v2/models", 404, "not found"),
        ("GET", "/v2/models/model/nothing", 404, "not found"),
        ("GET", INFER, 405, "not allowed"),
        ("POST", "/v2", 405, "not allowed"),
        ("DELETE", "/v2/models/model", 405, "not allowed"),
    ],
)
def test_a_wrong_path_is_said_in_a_sentence(app: Any, method: str, path: str, status: int, message: str) -> None:
    answer = app(ECHO)(method, path, b"{}")
    assert answer.status == status
    assert message in answer.json["error"]


def test_the_infer_of_a_script_gets_arrays_and_gives_arrays(app: Any) -> None:
    served = app("""
        import numpy as np
        def init(): pass
        def infer(inputs):
            assert inputs["a"].dtype == np.int16 and inputs["a"].shape == (2, 1)
            return {"sum": inputs["a"] + inputs["b"], "text": np.array(["x"])}
    """)
    a, b = tensor("a", "INT16", (2, 1), [1, 2]), tensor("b", "INT16", (1,), [10])
    answer = ask(served, a, b, id="42")
    assert answer.status == 200
    assert answer.json == {
        "model_name": "model",
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": "sum", "datatype": "INT16", "shape": [2, 1], "data": [11, 12]},
            {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]},
        ],
    }
    assert "x-request-id" in answer.answer_headers
    wanted = ask(served, a, b, outputs=[{"name": "text"}]).json
    assert [output["name"] for output in wanted["outputs"]] == ["text"]
    assert "id" not in wanted
    missing = ask(served, a, b, outputs=[{"name": "nope"}])
    assert (missing.status, missing.json) == (
        400, {"error": "There is no output 'nope': the script gave 'sum', 'text'."},
    )  # fmt: skip


def test_binary_tensors_go_in_and_come_out(app: Any) -> None:
    served = app(ECHO)
    raw = np.arange(3, dtype="<f4").tobytes()
    texts = struct.pack("<I", 2) + b"\xff\x00"
    described = [
        {"name": "x", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}},
        tensor("y", "INT8", (1,), [7]),
        {"name": "z", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}},
    ]
    answer = binary(served, {"inputs": described, "parameters": {"binary_data_output": True}}, raw, texts)
    assert answer.answer_headers["content-type"] == "application/octet-stream"
    length = int(answer.answer_headers[rest.HEADER_LENGTH])
    sizes = [out["parameters"]["binary_data_size"] for out in json.loads(answer.answer[:length])["outputs"]]
    assert sizes == [12, 1, 6]
    assert answer.answer[length:] == raw + b"\x07" + texts
    wanted = [{"name": "y"}, {"name": "x", "parameters": {"binary_data": True}}]
    mixed = binary(served, {"inputs": described, "outputs": wanted}, raw, texts)
    length = int(mixed.answer_headers[rest.HEADER_LENGTH])
    y, x = json.loads(mixed.answer[:length])["outputs"]
    assert (y["data"], "data" in x, mixed.answer[length:]) == ([7], False, raw)
    over = {"inputs": described, "outputs": [{"name": "y", "parameters": {"binary_data": False}}]}
    plain = binary(served, {**over, "parameters": {"binary_data_output": True}}, raw, texts)
    assert plain.json["outputs"][0]["data"] == [7]
    refused = binary(served, {"inputs": described}, raw, texts)
    assert (refused.status, refused.json["error"]) == (
        400, "Output 'z' has bytes that are not UTF-8: ask for it with binary_data.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (b"", None, "not JSON"),
        (b"[]", None, "not a JSON object"),
        (b"[" * 100_000, None, "not JSON"),
        (b"\xff", None, "not JSON"),
        (b"{}", None, "no 'inputs'"),
        (b'{"inputs": 3}', None, "'inputs' is not a list"),
        (b'{"inputs": [3]}', None, "An entry of 'inputs' has no name"),
        (b'{"id": 3}', None, "'id' is not a string"),
        (b'{"inputs": [{"name": "x", "datatype": "FP8"}]}', None, "is 'FP8', which is not known"),
        (b'{"inputs": [{"name": "x", "datatype": ["FP32"]}]}', None, "not known"),
        (b'{"inputs": [{"name": "x", "datatype": "FP32"}]}', None, "shape of tensor 'x' is not a list"),
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}', None, "has no 'data'"),
        (b'{"inputs": [{"name": "x", "parameters": 1}]}', None, "parameters of tensor 'x' are not an object"),
        (b"{}", "3", "not a whole number up to the body's 2 bytes"),
        (b"{}", "-1", "not a whole number"),
        (b"{}", "9" * 5000, "not a whole number"),
        (b"{}", "x", "not a whole number"),
        (b"{}12", "2", "no 'inputs'"),
    ],
)
def test_a_malformed_request_is_400_and_one_sentence(app: Any, body: bytes, length: Any, message: str) -> None:
    headers = {} if length is None else {"inference_header_content_length": length}
    answer = app(ECHO)("POST", INFER, body, **headers)
    assert answer.status == 400
    assert message in answer.json["error"]
    assert len(answer.json["error"]) <= 1000


@pytest.mark.parametrize(
    ("entry", "contents", "message"),
    [
        ({"parameters": {"binary_data_size": 9}}, b"12345678", "says it has 9 bytes of binary data; the body has 8"),
        ({"parameters": {"binary_data_size": 4}}, b"12345678", "has 4 bytes of contents"),
        ({"parameters": {"binary_data_size": 8}}, b"12345678x", "1 bytes that belong to no tensor"),
        ({"parameters": {"binary_data_size": -8}}, b"12345678", "binary_data_size of tensor 'x' is not"),
        ({"parameters": {"binary_data_size": True}}, b"12345678", "binary_data_size of tensor 'x' is not"),
        ({"parameters": {"binary_data_size": 8}, "data": [1, 2]}, b"12345678", "both 'data' and binary data"),
    ],
)
def test_wrong_binary_sizes_are_400(app: Any, entry: Any, contents: bytes, message: str) -> None:
    described = {"name": "x", "datatype": "FP32", "shape": [2], **entry}
    answer = binary(app(ECHO), {"inputs": [described]}, contents)
    assert (answer.status, message in answer.json["error"]) == (400, True)
    assert binary(app(ECHO), {"inputs": [tensor()], "parameters": {"binary_data_output": 1}}).status == 400


def test_binary_data_needs_the_header_and_inputs_different_names(app: Any) -> None:
    served = app(ECHO)
    answer = ask(served, {"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}})
    assert "there is no Inference-Header-Content-Length" in answer.json["error"]
    assert ask(served, tensor(), tensor()).json == {"error": "Two inputs are called 'x'."}
    assert served("POST", INFER, b"{}", content_encoding="gzip").status == 415


def test_a_script_may_take_parameters_and_headers(app: Any) -> None:
    served = app("""
        def init(): pass
        def infer(tensors, parameters, *, request_headers):
            return {"out": [parameters["p"] + request_headers["h"]]}
    """)
    answer = served("POST", INFER, json.dumps({"inputs": [tensor()], "parameters": {"p": "a"}}).encode(), h="b")
    assert answer.json["outputs"][0]["data"] == ["ab"]


def test_a_script_that_fails_or_gives_no_tensors_is_500_and_counted(app: Any) -> None:
    served = app("def init(): pass\ndef infer(inputs): return {'a': 1/0} if 'x' in inputs else [1]")
    failed = ask(served, tensor("x"))
    assert (failed.status, failed.answer_headers["x-ms-run-function-failed"]) == (500, "True")
    assert failed.json == {"error": "An unexpected error occurred in scoring script. Check the logs for more info."}
    assert ask(served, tensor("y")).status == 500
    kinds = {kind.name: count for kind, count in served.metrics.totals().kinds.items() if count}
    assert kinds == {"SCRIPT": 1, "SERIALIZATION": 1}


def test_with_infer_alone_score_takes_the_protocol(app: Any) -> None:
    served = app(ECHO)
    assert ask(served, tensor(), path="/score").json["outputs"][0]["data"] == [1.0, 2.0]
    assert served("GET", "/score").status == 405
    both = app(ECHO + "\ndef run(data): return 'run'")
    assert ask(both, tensor(), path="/score").json == "run"
    assert ask(both, tensor()).json["outputs"][0]["data"] == [1.0, 2.0]


def test_declared_tensors_are_checked(app: Any) -> None:
    served = app("""
        def init(): pass
        def infer(inputs): return {"y": inputs["x"]}
        def metadata():
            return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]}
    """)
    described = served("GET", "/v2/models/model").json
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert ask(served, tensor(shape=(1, 2))).status == 200
    for wrong, message in (
        (tensor(), "Input 'x' has the shape [2], not [-1, 2]."),
        (tensor(datatype="FP64", shape=(1, 2)), "Input 'x' is FP64, not FP32."),
        (tensor(name="z"), "Model 'model' has no input 'z': it has 'x'."),
    ):
        answer = ask(served, wrong)
        assert (answer.status, answer.json) == (400, {"error": message})


@pytest.mark.parametrize(
    "returned",
    ["3", "{'input': []}", "{'inputs': 3}", "{'inputs': [{'name': 'x'}]}", "1/0"]
    + [
        f"{{'inputs': [{{'name': {name!r}, 'datatype': {datatype!r}, 'shape': {shape!r}}}]}}"
        for name, datatype, shape in (("", "FP32", [1]), ("x", "FP8", [1]), ("x", "FP32", [-2]), ("x", "FP32", "a"))
    ],
)
def test_wrong_metadata_stops_the_start(app: Any, returned: str) -> None:
    with pytest.raises(MetadataError, match="metadata"):
        app(f"{ECHO}\ndef metadata(): return {returned}")


def test_a_helper_called_infer_does_no_harm_to_a_script_with_run(app: Any) -> None:
    served = app("def init(): pass\ndef infer(model, x): 1/0\ndef metadata(x): 1/0\ndef run(data): return [1]")
    assert ask(served, tensor()).json["outputs"][0]["data"] == [1]
    with pytest.raises(BadSignatureError, match="'x' that nothing is given for"):
        app("def init(): pass\ndef infer(model, x): 1/0")


def test_credentials_are_asked_of_all_but_health(app: Any, tmp_path: Any) -> None:
    from penstock_scorer.auth.guard import Guard  # noqa: PLC0415

    (tmp_path / "policy").write_text(dump(bytes(16), {"me": "key"}))
    served = app(ECHO, guard=Guard(tmp_path / "policy"))
    for path in ("/v2", "/v2/models/model", "/v2/models/model/ready"):
        assert served("GET", path).status == 401
        assert served("GET", path, authorization="Bearer key").status == 200
    assert ask(served, tensor()).status == 401
    assert served("GET", "/v2/health/ready").status == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["inputs", "outputs", "id", "parameters"]), JSON | st.lists(JSON)), st.data())
def test_no_request_is_a_fault_of_ours(request: Any, data: Any) -> None:
    body = json.dumps(request).encode() + data.draw(st.binary(max_size=8))
    length = data.draw(st.none() | st.integers(-1, len(body) + 1).map(str))
    with contextlib.suppress(BadInputError):
        assert rest.parse(body, length).inputs
