"""Scripts that know nothing of the protocol, reached through it."""

import json
from typing import Any

import numpy as np
import pytest
from penstock_scorer.contract.inputs import BadInputError, InputMode, Parameter
from penstock_scorer.contract.signature import RunSignature
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.inference.callee import RunCallee
from penstock_scorer.inference.datatypes import Datatype
from penstock_scorer.inference.messages import InferRequest, RequestedOutput
from penstock_scorer.inference.model import identify
from penstock_scorer.telemetry.metrics import ErrorKind

SUMS = "import json\ndef init(): pass\ndef run(raw):\n return [sum(row) for row in json.loads(raw)['data']]"
X = {"name": "x", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}


def ask(app: Any, *inputs: Any, **more: Any) -> Any:
    return app("POST", "/v2/models/model/infer", json.dumps({"inputs": inputs, **more}).encode())


def request(*names: str) -> InferRequest:
    arrays = {name: np.array([[1.5]]) for name in names}
    return InferRequest(arrays, dict.fromkeys(arrays, Datatype.FP64))


def test_one_tensor_is_data(app: Any) -> None:
    answer = ask(app(SUMS), X, id="7")
    assert answer.json["outputs"] == [{"name": "output-0", "datatype": "INT64", "shape": [2], "data": [3, 7]}]
    named = ask(app(SUMS), X, outputs=[{"name": "y"}])
    assert named.json["outputs"][0]["name"] == "y"


def test_several_tensors_go_by_name_and_texts_are_text(app: Any) -> None:
    served = app("import json\ndef init(): pass\ndef run(raw): return {'seen': raw}")
    text = {"name": "t", "datatype": "BYTES", "shape": [1, 2], "data": ["\u00e9", ""]}
    seen = ask(served, X, text).json["outputs"][0]
    assert (seen["name"], seen["datatype"]) == ("seen", "BYTES")
    assert json.loads(seen["data"][0]) == {"x": [[1, 2], [3, 4]], "t": [["\u00e9", ""]]}
    head = json.dumps({"inputs": [{**text, "shape": [1], "parameters": {"binary_data_size": 5}, "data": None}]})
    head = head.replace(', "data": null', "")
    body = head.encode() + b"\x01\0\0\0\xff"
    answer = served("POST", "/v2/models/model/infer", body, inference_header_content_length=str(len(head)))
    assert (answer.status, "not UTF-8, and the script reads text" in answer.json["error"]) == (400, True)


@pytest.mark.parametrize(
    ("result", "datatype", "shape", "data"),
    [
        ("[1.5, 2]", "FP64", [2], [1.5, 2.0]),
        ("3", "INT64", [1], [3]),
        ("True", "BOOL", [1], [True]),
        ("'text'", "BYTES", [1], ["text"]),
        ("['a', 'b']", "BYTES", [2], ["a", "b"]),
        ("np.ones((1, 2), 'f4')", "FP32", [1, 2], [1.0, 1.0]),
        ("np.float32(2)", "FP32", [1], [2.0]),
        ("[{'a': 1}]", "BYTES", [1], ['[{"a": 1}]']),
        ("[[1], [2, 3]]", "BYTES", [1], ["[[1], [2, 3]]"]),
        ("[1, 'a']", "BYTES", [1], ['[1, "a"]']),
        ("[None]", "BYTES", [1], ["[null]"]),
        ("{'a': {'b': 1}, 'c': 2}", "BYTES", [1], ['{"a": {"b": 1}, "c": 2}']),
    ],
)
def test_any_result_is_a_tensor(app: Any, result: str, datatype: str, shape: Any, data: Any) -> None:
    (output,) = ask(app(f"import numpy as np\ndef init(): pass\ndef run(raw): return {result}"), X).json["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == (datatype, shape, data)
    assert ("parameters" in output) is (datatype == "BYTES" and data[0][0] in "[{")


def test_no_result_is_no_tensor_and_a_set_is_500(app: Any) -> None:
    assert ask(app("def init(): pass\ndef run(raw): pass"), X).json["outputs"] == []
    assert ask(app("def init(): pass\ndef run(raw): return {1, 2}"), X).status == 500


def test_a_decorated_script_gets_its_parameters() -> None:
    both = (Parameter("a"), Parameter("b", required=False, default=9))
    callee = RunCallee(RunSignature(print, InputMode.OBJECT, both, wants_headers=True))
    headers = [("x-a", "1")]
    found = callee.arguments(request("a"), lambda: headers)
    assert found == {"a": [[1.5]], "b": 9, "request_headers": {"X-A": "1"}}
    assert callee.arguments(request("input-0"), list)["a"] == [[1.5]]
    assert callee.arguments(request("a", "b"), list)["b"] == [[1.5]]
    with pytest.raises(BadInputError, match="no parameter 'c': it has a, b"):
        callee.arguments(request("a", "c"), list)
    with pytest.raises(BadInputError, match="A value is not provided for the 'a' parameter"):
        callee.arguments(request("b"), list)


class Response:
    def __init__(self, status: int, body: bytes) -> None:
        self.status_code, self._body, self.closed = status, body, False

    def get_data(self) -> bytes:
        return self._body

    def close(self) -> None:
        self.closed = True


def test_a_response_is_its_json_or_its_error() -> None:
    callee = RunCallee(RunSignature(print, InputMode.TEXT, (Parameter("a"),), wants_headers=False))
    response = Response(200, b'{"y": [1]}')
    (output,) = callee.outputs(request("a"), response)
    assert (output.name, output.array.tolist(), response.closed) == ("y", [1], True)
    wanted = InferRequest({}, {}, outputs=(RequestedOutput("z"),))
    (output,) = callee.outputs(wanted, Response(200, b"\xff"))
    assert (output.name, output.datatype, output.array.tolist()) == ("z", Datatype.BYTES, [b"\xff"])
    with pytest.raises(BadInputError, match="nope") as error:
        callee.outputs(wanted, Response(418, b"nope"))
    assert error.value.status == 418


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ((None, None, None), ("model", "1")),
        (("iris", None, "/x/azureml-models/other/7"), ("iris", "7")),
        ((None, None, "/x/azureml-models/other/7/deep"), ("other", "7")),
        ((None, "3", "/x/azureml-models/other"), ("other", "3")),
        ((None, None, "/x/models"), ("model", "1")),
    ],
)
def test_the_model_is_named_after_the_service_else_its_folder(given: Any, identity: Any) -> None:
    assert identify(*given) == identity


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("pieces", "datatype", "shape", "data"),
    [
        ("'a', 'b'", "BYTES", [2], ["a", "b"]),
        ("1.5, 2.5", "FP64", [2], [1.5, 2.5]),
        ("[1, 2], [3, 4]", "INT64", [2, 2], [1, 2, 3, 4]),
        ("{'a': 1}, {'a': 2}", "BYTES", [1], ['[{"a": 1}, {"a": 2}]']),
        ("b'a', 'b'", "BYTES", [2], ["a", "b"]),
        ("", "FP64", [0], []),
    ],
)
def test_a_result_in_pieces_is_gathered(  # noqa: PLR0917
    app: Any, kind: str, pieces: str, datatype: str, shape: Any, data: Any
) -> None:
    served = app(f"def init(): pass\n{kind} run(raw):\n    for piece in [{pieces}]: yield piece")
    (output,) = ask(served, X).json["outputs"]
    assert (output["name"], output["datatype"], output["shape"], output["data"]) == ("output-0", datatype, shape, data)


def test_bytes_and_a_stream_with_a_type_of_its_own_are_reachable_too(app: Any) -> None:
    assert ask(app("def init(): pass\ndef run(raw): return b'x'"), X).json["outputs"][0]["data"] == ["x"]
    served = app("from penstock_scorer import Stream\ndef init(): pass\ndef run(raw): return Stream(iter('ab'))")
    assert ask(served, X).json["outputs"][0]["data"] == ["a", "b"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_result_in_pieces_that_fails_is_500_and_one_without_an_end_is_400(app: Any, kind: str, capsys: Any) -> None:
    fails = app(f"def init(): pass\n{kind} run(raw):\n    yield 1\n    raise ValueError")
    assert (ask(fails, X).status, fails.metrics.totals().kinds[ErrorKind.SCRIPT]) == (500, 1)
    endless = app(
        f"def init(): pass\n{kind} run(raw):\n    try:\n        while True: yield 1\n    finally: print('closed')"
    )
    answer = ask(endless, X)
    assert (answer.status, "in more than 65536 piece(s)" in answer.json["error"]) == (400, True)
    assert capsys.readouterr().out == "closed\n"


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("run", ["", "def run(data): return 1", "async def run(data): return 1"])
def test_an_infer_in_pieces_gives_one_answer_or_says_how_to_ask(app: Any, kind: str, run: str) -> None:
    served = app(
        f"def init(): pass\n{run}\n{kind} infer(inputs):\n    for row in inputs['x']: yield {{'y': row}}",
        limits=Limits(),
    )
    one = {"name": "x", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}
    assert ask(served, one).json["outputs"][0]["data"] == [1, 2]
    answer = ask(served, X)
    assert answer.status == 400
    assert answer.json["error"] == "The script answers in more than 1 piece(s): ask with ModelStreamInfer, over gRPC."
