"""The filter of lists: what is written is what is meant, and nothing breaks the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidArgumentError
from controlplane.domain.filters import Filter, FilterField, parse_filter
from controlplane.domain.instances import InstanceState
from controlplane.domain.status import ProvisioningState

ALL = tuple(FilterField)
words = st.text(min_size=1, max_size=10)
keys = st.from_regex(r"[A-Za-z0-9_./-]{1,10}", fullmatch=True)


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(
    names=st.lists(words, max_size=2),
    parts=st.lists(words, max_size=2),
    tags=st.lists(st.tuples(words, words), max_size=2),
    states=st.lists(st.sampled_from([*ProvisioningState, *InstanceState]), max_size=2),
    anonymous=st.none() | st.booleans(),
    done=st.none() | st.booleans(),
)
def test_terms_written_out_are_read_back(
    *,
    names: list[str],
    parts: list[str],
    tags: list[tuple[str, str]],
    states: list[ProvisioningState | InstanceState],
    anonymous: bool | None,
    done: bool | None,
) -> None:
    terms = [
        *(f"name = {quoted(name)}" for name in names),
        *(f"name:{quoted(part)}" for part in parts),
        *(f"tags.{quoted(key)} = {quoted(value)}" for key, value in tags),
        *(f"{'state' if isinstance(state, InstanceState) else 'provisioning_state'}={state.name}" for state in states),
        *([] if anonymous is None else [f"anonymous = {str(anonymous).lower()}"]),
        *([] if done is None else [f"done = {str(done).lower()}"]),
    ]
    assert parse_filter(" AND ".join(terms), ALL) == Filter(
        tuple(names), tuple(parts), tuple(tags), tuple(states), anonymous, done
    )


@given(keys, words)
def test_plain_keys_need_no_quotes(key: str, value: str) -> None:
    assert parse_filter(f"tags.{key} = {quoted(value)}", ALL).tags == ((key, value),)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_filter(text, ALL)
    except InvalidArgumentError as refusal:
        assert [violation.field for violation in refusal.violations] == ["filter"]  # noqa: PT017


@given(st.text(st.sampled_from('name tags.=:"\\ANDxprovisioning_state'), max_size=40))
def test_any_shuffle_of_the_grammar_is_read_or_refused(text: str) -> None:
    test_any_text_is_read_or_refused.hypothesis.inner_test(text)  # type: ignore[attr-defined]


def test_every_term_must_hold() -> None:
    found = parse_filter('name : "BLU" AND tags.team = a AND provisioning_state = failed', ALL)
    assert found.matches("my-blue", {"team": "a"}, ProvisioningState.FAILED)
    assert not found.matches("green", {"team": "a"}, ProvisioningState.FAILED)
    assert not found.matches("my-blue", {"team": "b"}, ProvisioningState.FAILED)
    assert not found.matches("my-blue", {}, ProvisioningState.FAILED)
    assert not found.matches("my-blue", {"team": "a"}, ProvisioningState.SUCCEEDED)
    assert Filter().matches("anything", {}, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name", "there must be = or :"),
        ("name =", "there must be a value"),
        ("name = a name = b", "joined by AND"),
        ("name = a AND", "joined by AND"),
        ("name = a OR name = b", "joined by AND"),
        ("nam = a", "there are: name, tags.KEY"),
        ("tags = a", "cannot be filtered by"),
        ("tags.a : b", "works on name, target alone"),
        ("state = happy", "is one of PENDING, STARTING"),
        ("done = soon", "true or false"),
        ('name = "a', "does not end"),
        ("provisioning_state = happy", "is one of CREATING"),
        ("anonymous = maybe", "true or false"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        parse_filter(text, ALL)


def test_what_a_list_cannot_be_filtered_by_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="there are: name"):
        parse_filter("provisioning_state = FAILED", (FilterField.NAME,))
