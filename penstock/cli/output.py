"""Data on stdout: JSON, YAML, tables and tabs, after ``--query``."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from penstock.errors import PenstockError


class Format(StrEnum):
    """How data is written."""

    JSON = "json"
    YAML = "yaml"
    TABLE = "table"
    TSV = "tsv"


WIDEST_CELL = 80
"""Characters of a cell in a table of chosen columns; `show` has the whole text."""


class QueryError(PenstockError):
    """``--query`` fails on the data."""


def check(expression: str) -> str:
    """A JMESPath ``expression``, for argparse's ``type``: a mistake in it is told before anything is done.

    Raises:
        argparse.ArgumentTypeError: it cannot be understood.
    """
    import jmespath  # noqa: PLC0415 - only when asked for
    from jmespath.exceptions import JMESPathError, JMESPathTypeError  # noqa: PLC0415

    try:
        with contextlib.suppress(JMESPathTypeError):
            jmespath.search(expression, None)  # which finds unknown functions, too
    except JMESPathError as error:
        # Its own words go on for lines, with a picture of the place.
        cause = str(error).splitlines()[0].removeprefix("Invalid jmespath expression: ").rstrip(":")
        raise argparse.ArgumentTypeError(f"'{expression}' is no JMESPath: {cause}") from None
    return expression


def query(data: Any, expression: str) -> Any:
    """What a JMESPath ``expression`` finds in ``data``.

    Raises:
        QueryError: it does not fit the data.
    """
    import jmespath  # noqa: PLC0415 - only when asked for
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    try:
        return jmespath.search(expression, data)
    except JMESPathError as error:
        raise QueryError(f"--query fails on the answer: {error}", hint="see https://jmespath.org") from None


def render(data: Any, format_: Format, columns: Sequence[tuple[str, str]] = ()) -> str:
    """``data`` as text with its line end; empty when there is nothing to say."""
    match format_:
        case Format.JSON:
            return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        case Format.YAML:
            return _yaml(data)
        case Format.TSV:
            return "".join("\t".join(map(_cell, row)) + "\n" for row in _tsv_rows(data))
        case Format.TABLE:
            return _table(data, columns)


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only when asked for

    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = sys.maxsize  # a path or a sentence stays on its line
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(data, out)
    return out.getvalue().removesuffix("...\n")


def _tsv_rows(data: Any) -> list[list[Any]]:
    if data is None:
        return []
    rows = data if isinstance(data, list) else [data]
    return [_values(row) for row in rows]


def _values(row: Any) -> list[Any]:
    if isinstance(row, dict):
        return list(row.values())
    return row if isinstance(row, list) else [row]


def _table(data: Any, columns: Sequence[tuple[str, str]]) -> str:
    rows = data if isinstance(data, list) else [] if data is None else [data]
    if not rows:
        return ""
    if not isinstance(rows[0], dict):
        return "".join("  ".join(map(_cell, _values(row))) + "\n" for row in rows)
    if columns and all(isinstance(row, dict) and "name" in row for row in rows):
        titles = [title for title, _ in columns]
        cells = [[_short(_cell(query(row, expression))) for _, expression in columns] for row in rows]
    else:
        keys = [key for key, value in rows[0].items() if not isinstance(value, dict | list)]
        titles = [_title(key) for key in keys]
        cells = [[_cell(row.get(key)) for key in keys] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    lines = [titles, ["-" * width for width in widths], *cells]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST_CELL else f"{text[: WIDEST_CELL - 1]}…"


def _title(key: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in key.split("_"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return " ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    return str(value).replace("\t", " ").replace("\n", " ")
