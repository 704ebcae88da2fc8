"""Every datatype in and out, and everything a client can get wrong about a tensor."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.results import NotSerializableError
from penstock_scorer.inference import datatypes
from penstock_scorer.inference.datatypes import Datatype
from penstock_scorer.inference.tensors import check_shape, from_raw, from_values, to_array, to_raw, to_values

FIXED = [kind for kind in Datatype if kind not in (Datatype.BYTES, Datatype.BF16)]
SAMPLES: dict[Datatype, list[Any]] = {
    **{kind: [0, 1, 2, 3, 4, 127] for kind in FIXED},
    Datatype.BOOL: [True, False, True, True, False, False],
    Datatype.FP16: [0.0, -0.5, 1.0, 65504.0, float("inf"), 2.0],
    Datatype.FP32: [0.0, -0.5, 1.0, 3.4028234663852886e38, float("-inf"), 2.0],
    Datatype.FP64: [0.0, -0.1, 1e-300, 1e300, float("inf"), 2.0],
    Datatype.BF16: [0.0, -0.5, 1.0, 3.0, float("inf"), 2.0],
    Datatype.BYTES: ["", "a", "\u00e9", "\U0001f600", "x" * 300, "\x00"],
    Datatype.UINT64: [0, 1, 2**63, 2**64 - 1, 5, 6],
    Datatype.INT64: [0, -1, -(2**63), 2**63 - 1, 5, 6],
}


@pytest.mark.parametrize("kind", Datatype)
def test_values_become_an_array_raw_contents_and_values_again(kind: Datatype) -> None:
    array = from_values("x", kind, (2, 3), SAMPLES[kind])
    assert (array.shape, array.dtype) == ((2, 3), kind.dtype)
    sent, back = to_array("x", array)
    # BF16 is float32 here, and stays it.
    assert sent is (Datatype.FP32 if kind is Datatype.BF16 else kind)
    assert to_values("x", sent, back) == SAMPLES[kind]
    again = from_raw("x", sent, (3, 2), bytes(to_raw("x", sent, back)))
    assert again.tolist() == array.reshape(3, 2).tolist()
    nested = from_values("x", kind, (2, 3), [SAMPLES[kind][:3], SAMPLES[kind][3:]])
    assert nested.tolist() == array.tolist()
    assert json.loads(json.dumps(SAMPLES[kind])) == SAMPLES[kind]


@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 1, 3)])
def test_any_shape_travels(kind: Datatype, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, kind.dtype)
    assert from_raw("x", kind, shape, bytes(to_raw("x", kind, array))).tolist() == array.tolist()
    assert from_values("x", kind, shape, to_values("x", kind, array)).tolist() == array.tolist()


def test_raw_contents_are_not_copied_where_their_address_allows_it() -> None:
    message = b"12345678" + np.arange(4, dtype="<f8").tobytes()
    view = memoryview(message)
    base = np.frombuffer(message, np.uint8)
    array = from_raw("x", Datatype.FP64, (4,), view[8:])
    assert np.shares_memory(array, base)
    assert not array.flags.writeable
    moved = from_raw("x", Datatype.FP64, (3,), (b"1" + np.arange(4, dtype="<f8").tobytes()).__getitem__(slice(1, 25)))
    assert moved.tolist() == [0, 1, 2]
    unaligned = from_raw("x", Datatype.FP64, (3,), view[9:33])
    assert unaligned.flags.aligned
    assert not np.shares_memory(unaligned, base)


def test_bf16_is_widened_exactly_and_a_bfloat16_array_is_sent_as_it() -> None:
    raw = struct.pack("<3H", 0x3F80, 0xC000, 0x7F80)
    assert from_raw("x", Datatype.BF16, (3,), raw).tolist() == [1.0, -2.0, float("inf")]

    class BFloat16:
        kind, itemsize, name = "V", 2, "bfloat16"

    class Array:
        dtype = BFloat16

    assert datatypes.of(Array()) is Datatype.BF16
    assert bytes(to_raw("x", Datatype.BF16, np.array([0x3F80, 0xC000], "<u2"))) == raw[:4]


def test_outputs_of_other_layouts_are_sent_row_major_and_little_endian() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    kind, found = to_array("x", array)
    assert kind is Datatype.INT32
    assert bytes(to_raw("x", kind, found)) == np.array([0, 3, 1, 4, 2, 5], "<i4").tobytes()
    assert to_values("x", kind, found) == [0, 3, 1, 4, 2, 5]


def test_texts_and_bytes_are_bytes() -> None:
    for value in (np.array(["a", "bc"]), np.array([b"a", b"bc"]), np.array(["a", b"bc"], object), ["a", "bc"]):
        kind, array = to_array("x", value)
        assert kind is Datatype.BYTES
        assert to_raw("x", kind, array) == b"\x01\0\0\0a\x02\0\0\0bc"
    with pytest.raises(BadInputError, match="not UTF-8: ask for it with binary_data"):
        to_values("x", Datatype.BYTES, np.array([b"\xff"]))
    with pytest.raises(NotSerializableError, match="neither bytes nor str"):
        to_raw("x", Datatype.BYTES, np.array([{}], object))


@pytest.mark.parametrize("value", [np.array([1j]), np.array(["2020-01-01"], "M8[D]"), [[1], [2, 3]]])
def test_what_the_protocol_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(NotSerializableError, match="Output 'x'"):
        to_array("x", value)


HUGE = 10**18


@pytest.mark.parametrize(
    ("kind", "shape", "raw", "message"),
    [
        ("FP32", (2,), b"1234", "has 4 bytes of contents; its shape and datatype need 8"),
        ("FP32", (HUGE, HUGE, HUGE), b"1234", "has 4 bytes"),
        ("FP32", (2**62, 4), b"", "has 0 bytes"),
        ("FP32", (0, 2**62, 2**62), b"", "is too large"),
        ("BYTES", (0, 2**62, 2**62), b"", "is too large"),
        ("BOOL", (2,), b"\x00\x02", "neither 0 nor 1"),
        ("BYTES", (1,), b"\x01\x00", "end inside the length of an element"),
        ("BYTES", (1,), b"\xff\xff\xff\xffab", "end inside an element"),
        ("BYTES", (2,), b"\x01\x00\x00\x00a", "has 1 elements; its shape needs 2"),
        ("BYTES", (HUGE, HUGE), b"", "has 0 elements"),
        ("BF16", (3,), b"12345", "has 5 bytes"),
    ],
)
def test_wrong_raw_contents_are_said_in_a_sentence(kind: str, shape: Any, raw: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as error:
        from_raw("x", Datatype(kind), shape, raw)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("kind", "shape", "values", "message"),
    [
        ("INT8", (1,), [128], "out of its range"),
        ("UINT8", (1,), [-1], "out of its range"),
        ("UINT64", (1,), [2**64], "out of its range"),
        ("INT32", (1,), [1.5], "elements of type float"),
        ("INT32", (1,), [True], "elements of type bool"),
        ("FP32", (2,), ["1", None], "elements of type NoneType, str"),
        ("FP64", (1,), [10**400], "cannot hold"),
        ("BOOL", (1,), [1], "elements of type int"),
        ("BYTES", (1,), [1], "elements of type int"),
        ("BYTES", (1,), ["\ud800"], "no Unicode"),
        ("FP32", (2, 2), [[1, 2, 3], [4]], "lists of different lengths"),
        ("FP32", (2, 2), [[1, 2], 3], "lists of different lengths"),
        ("FP32", (3,), [[1, 2], [3, 4]], "has 4 elements; its shape needs 3"),
        ("FP32", (HUGE, HUGE), [1], "has 1 elements"),
        ("FP32", (1,), {"a": 1}, "elements of type dict"),
    ],
)
def test_wrong_values_are_said_in_a_sentence(kind: str, shape: Any, values: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        from_values("x", Datatype(kind), shape, values)


@pytest.mark.parametrize("shape", [None, 3, "ab", [1.0], [True], [-1], [2**63], [1] * 33, {"a": 1}])
def test_a_shape_is_a_short_list_of_whole_numbers(shape: Any) -> None:
    with pytest.raises(BadInputError):
        check_shape("x", shape)


@given(st.sampled_from(Datatype), st.lists(st.integers(0, 2**63 - 1), max_size=33), st.binary(max_size=64))
def test_no_raw_contents_are_a_fault_of_ours(kind: Datatype, shape: list[int], raw: bytes) -> None:
    with contextlib.suppress(BadInputError):
        assert from_raw("x", kind, check_shape("x", shape), raw).shape == tuple(shape)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@given(st.sampled_from(Datatype), st.lists(st.integers(0, 4), max_size=3), JSON)
def test_no_values_are_a_fault_of_ours(kind: Datatype, shape: list[int], values: Any) -> None:
    try:
        array = from_values("x", kind, tuple(shape), values)
    except BadInputError:
        return
    assert (array.shape, array.dtype) == (tuple(shape), kind.dtype)
