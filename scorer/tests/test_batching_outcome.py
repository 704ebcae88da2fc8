"""Whose answer is whose, whatever fails inside a batch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.batching.arrays import joined, merge_key
from penstock_scorer.batching.outcome import Answer, Fault, WrongLengthError, call_batch
from penstock_scorer.batching.policy import BatchPolicy, batched, policy_of


def outcomes(call: Any, inputs: Any, **options: Any) -> list[Any]:
    found: dict[int, Any] = {}

    def deliver(index: int, outcome: Any) -> None:
        assert index not in found
        found[index] = outcome

    call_batch(call, inputs, deliver, **options)
    assert sorted(found) == list(range(len(inputs)))
    return [found[index] for index in range(len(inputs))]


@given(st.lists(st.sampled_from(["good", "raises", "returns an error"]), min_size=1, max_size=40))
def test_every_input_gets_its_own_outcome(kinds: Any) -> None:
    calls = []

    def call(inputs: Any) -> Any:
        calls.append(len(inputs))
        if any(kinds[i] == "raises" for i in inputs):
            raise ValueError(str(inputs))
        return [KeyError(i) if kinds[i] == "returns an error" else -i for i in inputs]

    for index, (kind, outcome) in enumerate(zip(kinds, outcomes(call, list(range(len(kinds)))), strict=True)):
        if kind == "good":
            assert outcome == Answer(-index)
        elif kind == "raises":
            assert isinstance(outcome.error, ValueError)
            assert str(outcome.error) == f"[{index}]"
        else:
            assert isinstance(outcome.error, KeyError)
            assert outcome.error.args == (index,)
    assert len(calls) <= 2 * len(kinds) - 1


def test_one_bad_input_of_sixteen_costs_nine_calls() -> None:
    calls = []

    def call(inputs: Any) -> Any:
        calls.append(inputs)
        return [1 // (i != 5) for i in inputs]

    found = outcomes(call, list(range(16)))
    assert [isinstance(outcome, Fault) for outcome in found] == [i == 5 for i in range(16)]
    assert len(calls) == 9


@given(st.integers(1, 20), st.integers(0, 25))
def test_a_result_of_the_wrong_length_is_nobodys(size: Any, returned: Any) -> None:
    found = outcomes(lambda _: list(range(returned)), list(range(size)))
    if returned == size:
        assert found == [Answer(i) for i in range(size)]
    else:
        assert all(isinstance(outcome.error, WrongLengthError) for outcome in found)
        assert f"got {size} input(s) and returned {returned} result(s)" in str(found[0].error)


@pytest.mark.parametrize("result", [None, 3, "ab", {"a": 1, "b": 2}, {1, 2}, iter([1, 2])])
def test_what_is_no_list_is_nobodys(result: Any) -> None:
    assert all(isinstance(outcome.error, WrongLengthError) for outcome in outcomes(lambda _: result, [1, 2]))


def test_a_timeout_ends_the_batch_and_keeps_what_is_known() -> None:
    known = []

    def call(inputs: Any) -> Any:
        if len(inputs) > 1:
            raise ValueError
        if inputs == [2]:
            raise TimeoutError
        return inputs

    with pytest.raises(TimeoutError):
        call_batch(call, [0, 1, 2, 3], lambda index, _: known.append(index), passing=(TimeoutError,))
    assert known == [0, 1]


SHAPES = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([(), (2,), (3,)]), st.sampled_from(["f4", "i8"])),
    min_size=1,
    max_size=8,
)


@given(SHAPES)
def test_rows_come_back_to_the_request_they_came_with(requests: Any) -> None:
    """Requests are grouped by key, joined, and every caller gets back exactly his own rows."""
    groups: dict[Any, list[int]] = {}
    inputs = []
    for number, (rows, shape, dtype) in enumerate(requests):
        inputs.append({"x": np.full((rows, *shape), number, dtype), "y": np.full(rows, -number)})
        groups.setdefault(merge_key(inputs[-1]), []).append(number)
    assert None not in groups
    seen = []

    def infer(tensors: Any) -> Any:
        seen.append(tensors["x"].shape)
        return {"x": tensors["x"] + 0, "twice": tensors["y"] * 2}

    for group in groups.values():
        results = joined(infer)([inputs[number] for number in group])
        for number, result in zip(group, results, strict=True):
            rows, shape, dtype = requests[number]
            assert result["x"].shape == (rows, *shape)
            assert result["x"].dtype == dtype
            assert (result["x"] == number).all()
            assert result["twice"].tolist() == [-2 * number] * rows
    assert len(seen) == len(groups)


def test_what_cannot_be_joined_shares_no_key() -> None:
    base = {"x": np.zeros((2, 3), "f4")}
    same = {"x": np.ones((5, 3), "f4")}
    assert merge_key(base) == merge_key(same)
    for other in (
        {"x": np.zeros((2, 4), "f4")},
        {"x": np.zeros((2, 3), "f8")},
        {"y": np.zeros((2, 3), "f4")},
        {"x": np.zeros((2, 3), "f4"), "y": np.zeros(2)},
        {"x": np.zeros((2, 3, 1), "f4")},
    ):
        assert merge_key(base) != merge_key(other)
    assert merge_key({"x": np.zeros(()), "y": np.zeros(2)}) is None
    assert merge_key({"x": np.zeros(3), "y": np.zeros(2)}) is None
    assert merge_key({}) is None


def test_a_request_alone_is_passed_through() -> None:
    array = np.zeros((2, 3))
    (result,) = joined(lambda inputs: {"mean": inputs["x"].mean(), "same": inputs["x"]})([{"x": array}])
    assert result["same"] is array


@pytest.mark.parametrize("output", [np.zeros(3), np.float64(1), np.zeros((5, 2))])
def test_outputs_whose_rows_cannot_be_told_apart_fail_every_request(output: Any) -> None:
    with pytest.raises(WrongLengthError, match=r"axis 0|4 rows"):
        joined(lambda _: {"y": output})([{"x": np.zeros(2)}, {"x": np.zeros(2)}])
    with pytest.raises(WrongLengthError, match="not a dict"):
        joined(lambda _: [1])([{"x": np.zeros(2)}, {"x": np.zeros(2)}])


def test_the_mark() -> None:
    @batched(max_size=4, max_delay_ms=1)
    def run(inputs: Any) -> Any:
        return inputs

    assert policy_of(run) == BatchPolicy(4, 0.001)
    assert policy_of(len) is None
    assert policy_of(None) is None
    for wrong in ({"max_size": 0}, {"max_size": 5000}, {"max_delay_ms": -1}, {"max_delay_ms": 2000}):
        with pytest.raises(ValueError, match="between"):
            batched(**wrong)
