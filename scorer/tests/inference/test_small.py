"""The short way for small requests says what the careful way says, or nothing."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from penstock_scorer.batching.arrays import joined, merge_key
from penstock_scorer.batching.policy import BatchPolicy
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.inference import rest
from penstock_scorer.inference.messages import Output
from penstock_scorer.inference.model import Model
from penstock_scorer.inference.small import PLAIN, Forms, write
from penstock_scorer.inference.tensors import to_array

from scorer.tests.conftest import App, FakeRequest

BODY = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.5, -2]}]}'
INFER = "/v2/models/model/infer"
NUMBERS = st.one_of(
    st.floats(), st.floats(width=16), st.integers(-5, 5), st.integers(), st.sampled_from([2**63, 10**400, -(2**1025)])
)
ANYTHING = st.recursive(NUMBERS | st.booleans() | st.none() | st.text(max_size=2), st.lists, max_leaves=3)


def carefully(body: bytes) -> Any:
    try:
        return rest.parse(body, None)
    except BadInputError:
        return None


def learned(*bodies: bytes) -> Forms:
    """What a server knows that was sent each of these twice."""
    forms = Forms()
    for body in bodies:
        request = carefully(body)
        for _ in range(2):
            if request is not None:
                forms.learn(body, request)
    return forms


def same(body: bytes, forms: Forms) -> bool:
    """Whether the short way read it; what it read is what the careful way reads."""
    flat = forms.read(body)
    if flat is None:
        return False
    request = carefully(body)
    assert request is not None
    assert (request.id, request.parameters, request.outputs, request.binary_output) == ("", {}, (), False)
    assert list(flat) == list(request.inputs)
    assert merge_key(flat) == merge_key(request.inputs)
    for name, array in request.inputs.items():
        assert (flat[name].dtype, flat[name].shape) == (array.dtype, array.shape)
        assert flat[name].tobytes() == array.tobytes()
        assert flat[name].flags.writeable
    return True


@st.composite
def bodies(draw: Any) -> bytes:
    """Requests that are right, or nearly."""
    data = draw(st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(ANYTHING, max_size=3))
    entry = {
        "name": draw(st.sampled_from(["x", "data", '"data": [', "é"])),
        "shape": draw(st.sampled_from([[1, 2], [2], [2, 1], [1, 3], [0, 2], [True, 2]])),
        "datatype": draw(st.sampled_from(["FP64", "FP32", "FP16", "BF16", "INT64", "BOOL"])),
        "data": data,
    }
    if draw(st.booleans()):
        entry = dict(draw(st.permutations(list(entry.items()))))
    more: Any = draw(st.sampled_from([{}, {}, {}, {"id": "1"}, {"parameters": {"a": 1}}, {"outputs": [{"name": "y"}]}]))
    separators = draw(st.sampled_from([(", ", ": "), (",", ":")]))
    return json.dumps({"inputs": [entry], **more}, separators=separators, ensure_ascii=draw(st.booleans())).encode()


@given(st.lists(bodies(), min_size=1, max_size=6), st.data())
def test_both_ways_read_the_same(sent: list[bytes], data: Any) -> None:
    forms = learned(*sent)
    for body in sent:
        same(body, forms)
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 3))
        piece = data.draw(st.sampled_from([b"", b"[", b"]", b",", b'"', b"}", b"1", b"e5", b"-", b" ", b"\xff", b"\0"]))
        same(body[:at] + piece + body[at + cut :], forms)


@given(st.lists(NUMBERS, min_size=2, max_size=2), st.sampled_from(["FP64", "FP32", "FP16", "BF16"]))
def test_numbers_become_the_same_floats(values: Any, datatype: str) -> None:
    def body(values: Any) -> bytes:
        tensor = {"name": "x", "shape": [1, 2], "datatype": datatype, "data": values}
        return json.dumps({"inputs": [tensor]}).encode()

    huge = any(type(value) is int and abs(value) > 2**1000 for value in values)
    assert same(body(values), learned(body([0.5, 1]))) or huge


def test_the_second_of_a_kind_is_remembered() -> None:
    forms, request = Forms(), carefully(BODY)
    assert forms.read(BODY) is None
    forms.learn(BODY, request)
    assert forms.read(BODY) is None
    forms.learn(BODY, request)
    assert same(BODY, forms)
    assert same(BODY.replace(b"1.5", b" NaN "), forms)


@pytest.mark.parametrize(
    "other",
    [
        BODY.replace(b"[1.5, -2]", b"[1.5]"),
        BODY.replace(b"[1.5, -2]", b"[true, 1.5]"),
        BODY.replace(b"[1.5, -2]", b'["1", 1.5]'),
        BODY.replace(b"[1.5, -2]", b"[[1.5, 2]]"),
        BODY.replace(b"[1.5, -2]", b"[1.5, 2"),
        BODY.replace(b"[1.5, -2]", b"[" * 100_000),
        BODY.replace(b"[1.5, -2]", b"[1e5, " + b"9" * 5000 + b"]"),
        BODY.replace(b"[1, 2]", b"[2, 1]"),
        BODY.replace(b"}]}", b'}], "id": "7"}'),
        BODY.replace(b"}]}", b', "data": [3, 4]}]}'),
        BODY + b" ",
        BODY + b"\xff",
        BODY[:-1],
        BODY.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + BODY,
        b"",
    ],
)
def test_whatever_is_different_is_read_carefully(other: bytes) -> None:
    assert learned(BODY).read(other) is None
    assert learned(BODY, other).read(BODY) is not None


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b'"data"', b'"data": [3, 4], "data"'),
        BODY.replace(b"[1.5, -2]", b'[3], "data": [1.5, -2]'),
        BODY.replace(b"}]}", b', "data": [3, 4]}]}'),
        BODY.replace(b"[1, 2]", b"[1]").replace(b"1.5, -2", b"3").replace(b"}]}", b', "data": 0}]}'),
        BODY.replace(b"[1, 2]", b"[1]").replace(b"1.5, -2", b"3").replace(b"}]}", b', "data": 1}]}'),
        BODY.replace(b"}]}", b'}], "id": "7"}'),
        BODY.replace(b"}]}", b'}], "outputs": []}'),
        BODY.replace(b"}]}", b'}, {"name": "y", "shape": [1], "datatype": "FP64", "data": [1]}]}'),
        BODY.replace(b'"name"', b'"parameters": {}, "name"'),
        BODY.replace(b"FP64", b"INT64").replace(b"1.5", b"1"),
        BODY.replace(b"[1, 2]", b"[]").replace(b"1.5, -2", b"1"),
        BODY.replace(b"[1, 2]", b"[0, 2]").replace(b"1.5, -2", b""),
        BODY.replace(b'"x"', '"é"'.encode()),
        BODY.replace(b'"x"', b'"' + b"x" * 1000 + b'"'),
        BODY[:-1] + b" " * 1000 + b"}",
        BODY.replace(b"[1, 2]", b"[1, 1001]").replace(b"1.5, -2", b"1.5" + b", 0" * 1000),
        BODY.replace(b"[1.5, -2]", b"[[1.5, -2]]"),
    ],
)
def test_what_is_more_than_one_small_tensor_is_not_remembered(body: bytes) -> None:
    assert carefully(body) is not None
    assert learned(body).read(body) is None


def test_no_more_than_so_many_are_remembered() -> None:
    forms = learned(*(BODY.replace(b'"x"', b'"x%d"' % number) for number in range(1000)))
    assert len(forms._known) <= 64
    assert same(BODY.replace(b'"x"', b'"x999"'), forms)


MODEL = Model("m\u00e9", "1")
OUTPUTS = st.dictionaries(
    st.text(max_size=3),
    st.tuples(
        st.sampled_from(["f8", "f4", "f2", ">f8", "i8", "u1", "?", "U3", "O", "g", "c8"]),
        st.sampled_from([(), (1,), (2,), (0,), (2, 3)]),
    ),
    max_size=3,
)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), OUTPUTS, st.data())
@example([1, 1], {"y": ("f8", ())}, None)
def test_both_ways_write_the_same(rows: list[int], outputs: Any, data: Any) -> None:
    def made(dtype: str, row: Any) -> Any:
        shape = (sum(rows), *row)
        if dtype == "O":
            return np.full(shape, "text", object)
        values = [0.1, float("nan"), float("inf"), -1e300, 1e16] if dtype.endswith("f8") else [0, 1, 100]
        index = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1)) if data is not None else [0]
        return np.resize(np.array([values[i] for i in index]).astype(dtype), shape)

    arrays = {name: made(*what) for name, what in outputs.items()}
    shares = joined(lambda _: arrays)([{"x": np.zeros(count)} for count in rows])
    for share in shares:
        text = write(MODEL, share)
        simple = all(dtype not in ("U3", "O", "g", "c8") for dtype, _ in outputs.values())
        assert (text is not None) == simple
        if text is not None:
            described = [Output(name, *to_array(name, array)) for name, array in share.items()]
            assert text == rest.encode(MODEL, PLAIN, described)[1]


def test_large_outputs_and_names_that_are_no_text_are_written_one_by_one() -> None:
    for outputs in ({"y": np.zeros((2, 10_000))}, {3: np.zeros(2)}):
        (share, _) = joined(lambda _, outputs=outputs: outputs)([{"x": np.zeros(1)}] * 2)  # type: ignore[misc]
        assert write(MODEL, share) is None


SCRIPT = """
def init(): pass
def infer(inputs):
    rows = inputs["x"][:, 0]
    if (rows < 0).any(): raise ValueError("negative")
    return {"y": rows * 2}
"""
KINDS = st.sampled_from(
    ["plain", "plain", "plain", "rows", "id", "no number", "too few", "no json", "raises", "binary", "other"]
)


def request_of(kind: str, number: int) -> FakeRequest:
    data: list[Any] = [-1.5 if kind == "raises" else number, 0.5]
    rows = 1
    if kind == "rows":
        rows, data = 2, [*data, number + 0.5, 0.5]
    elif kind == "no number":
        data[1] = "1"
    elif kind == "too few":
        data.pop()
    elif kind == "other":
        data.append(0.5)
    shape = [rows, 3 if kind == "other" else 2]
    request: Any = {"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": data}]}
    if kind == "id":
        request["id"] = str(number)
    elif kind == "binary":
        request["outputs"] = [{"name": "y", "parameters": {"binary_data": True}}]
    body = json.dumps(request).encode()
    return FakeRequest("POST", INFER, body=body[:-1] if kind == "no json" else body)


@given(st.lists(KINDS, min_size=1, max_size=30), st.integers(1, 9))
def test_every_caller_gets_its_own_rows(kinds: list[str], size: int) -> None:
    """Through routes, queue and batches, whatever comes beside it."""
    requests = [(kind, number, request_of(kind, number)) for number, kind in enumerate(kinds * 2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "score.py")
        path.write_text(SCRIPT)
        served = App(path, limits=Limits(slots=size, batch=BatchPolicy(size, 0)))
        for _, _, request in requests:
            served.front(request)
        served.work()
        served.close()
    statuses = {"no number": 400, "too few": 400, "no json": 400, "raises": 500}
    for kind, number, request in requests:
        assert request.answers == 1
        assert request.status == statuses.get(kind, 200)
        if request.status != 200:
            continue
        wanted = [2.0 * number, 2.0 * number + 1] if kind == "rows" else [2.0 * number]
        text, raw = request.answer, b""
        if kind == "binary":
            length = int(request.answer_headers["inference-header-content-length"])
            text, raw = text[:length], text[length:]
        answer = json.loads(text)
        (output,) = answer["outputs"]
        assert answer.get("id") == (str(number) if kind == "id" else None)
        assert (output["name"], output["shape"]) == ("y", [len(wanted)])
        assert (np.frombuffer(raw).tolist() if raw else output["data"]) == wanted
