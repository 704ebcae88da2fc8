from __future__ import annotations

import argparse

import pytest

from penstock.cli.output import Format, QueryError, check, query, render

ROWS = [
    {"name": "blue", "traffic": {"a": 90, "b": 10}, "ready": 2, "on": True, "none": None},
    {"name": "a-longer-name", "traffic": {}, "ready": 10, "on": False, "none": "x\ty\nz"},
]
COLUMNS = (("Name", "name"), ("Traffic", "traffic"), ("Ready", "ready"))


def test_json_keeps_what_is_not_ascii() -> None:
    assert render({"a": "ü"}, Format.JSON) == '{\n  "a": "ü"\n}\n'


def test_a_table_with_columns() -> None:
    assert render(ROWS, Format.TABLE, COLUMNS).splitlines() == [
        "Name           Traffic    Ready",
        "-------------  ---------  -----",
        "blue           a=90 b=10  2",
        "a-longer-name             10",
    ]


def test_a_table_of_chosen_columns_cuts_long_words_short() -> None:
    cell = render({"name": "blue", "said": "x" * 500}, Format.TABLE, (("Said", "said"),)).splitlines()[2]
    assert (len(cell), cell[-1]) == (80, "…")
    assert "x" * 500 in render({"said": "x" * 500}, Format.TABLE)


def test_yaml_keeps_a_sentence_on_its_line() -> None:
    assert render({"a": "word " * 50 + "end"}, Format.YAML) == f"a: {'word ' * 50}end\n"


def test_a_table_without_columns_shows_plain_fields() -> None:
    assert render(ROWS[0], Format.TABLE).splitlines()[0].split() == ["Name", "Ready", "On", "None"]


def test_a_table_of_a_query_result() -> None:
    assert render(["a", "b"], Format.TABLE) == "a\nb\n"
    assert render([], Format.TABLE) == ""
    assert render(None, Format.TABLE) == ""


def test_tsv_never_breaks_its_own_lines() -> None:
    assert render(ROWS, Format.TSV) == "blue\ta=90 b=10\t2\tTrue\t\na-longer-name\t\t10\tFalse\tx y z\n"
    assert render("x", Format.TSV) == "x\n"
    assert render(None, Format.TSV) == ""


def test_yaml_keeps_the_order() -> None:
    assert render({"b": 1, "a": [1, {"c": None}]}, Format.YAML) == "b: 1\na:\n- 1\n- c: null\n"
    assert render("x", Format.YAML) == "x\n"


def test_queries() -> None:
    assert query(ROWS, "[?ready > `5`].name") == ["a-longer-name"]
    with pytest.raises(QueryError, match="--query fails on the answer"):
        query(ROWS, "abs(@)")


@pytest.mark.parametrize("wrong", ["[", "a..b", "'", "nothing(@)"])
def test_what_is_no_query(wrong: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        check(wrong)
    assert str(caught.value).startswith(f"'{wrong}' is no JMESPath: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fine", ["[].name", "abs(@)", "length(traffic)"])
def test_what_only_the_answer_can_tell_is_let_through(fine: str) -> None:
    assert check(fine) == fine
