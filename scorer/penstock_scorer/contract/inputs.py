"""From a request to the arguments of ``run``.

Three modes, chosen once by :mod:`penstock_scorer.contract.signature`: the body as text, the body as a JSON
object whose keys are parameters (``@input_schema``), or the request itself (``@rawhttp``). The messages are
the ones clients of azureml-inference-server-http 1.5.1 already see.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

_UNDECODED = re.compile("[\udc80-\udcff]")


class InputMode(enum.Enum):
    """What ``run`` is given."""

    TEXT = "text"
    """The body as ``str``, whatever its content type."""
    OBJECT = "object"
    """One argument per parameter, from the keys of a JSON object."""
    RAW = "raw"
    """The whole request."""


class BadInputError(Exception):
    """The client sent what the script cannot be called with. ``status`` is 400, 405 or 415."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Parameter:
    """One parameter of ``run``: its name, and its default where it has one."""

    name: str
    required: bool = True
    default: Any = None


def parse_text(method: str, query: str, body: bytes) -> str:
    """The single argument of an undecorated ``run``.

    Raises:
        BadInputError: the body is not UTF-8, or the method is neither GET nor POST.
    """
    if method == "POST":
        try:
            return str(body, "utf-8")
        except UnicodeDecodeError as error:
            raise BadInputError(f"Input cannot be decoded as UTF-8: {error}") from None
    if method == "GET":
        return json.dumps(parse_query(query))
    raise BadInputError("Method not allowed", 405)


def parse_object(
    method: str, query: str, content_type: str, body: bytes, parameters: tuple[Parameter, ...]
) -> dict[str, Any]:
    """The arguments of a ``run`` decorated with ``@input_schema``. Extra keys are ignored, defaults honoured.

    Raises:
        BadInputError: not JSON, not an object, or a parameter without a value.
    """
    if method == "GET":
        values = parse_query(query)
    elif method == "POST":
        values = _json_object(content_type, body)
    else:
        raise BadInputError("Method not allowed", 405)
    arguments = {}
    for parameter in parameters:
        if parameter.name in values:
            arguments[parameter.name] = values[parameter.name]
        elif parameter.required:
            raise BadInputError(f"A value is not provided for the {parameter.name!r} parameter.")
        else:
            arguments[parameter.name] = parameter.default
    return arguments


def parse_query(query: str) -> dict[str, Any]:
    """Query parameters as an object: values parsed as JSON where possible, repeated keys become a list."""
    values: dict[str, list[Any]] = {}
    for key, text in query_pairs(query):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        values.setdefault(key, []).append(value)
    return {key: found[0] if len(found) == 1 else found for key, found in values.items()}


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Query parameters in order; bytes that are not UTF-8 stay percent-encoded, as Werkzeug leaves them."""
    found = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return [(_UNDECODED.sub(_percent, key), _UNDECODED.sub(_percent, text)) for key, text in found]


def is_json(content_type: str) -> bool:
    """Whether a Content-Type names JSON: ``application/json`` or ``application/*+json``, parameters aside."""
    mime = content_type.partition(";")[0].strip().lower()
    return mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))


def _percent(found: re.Match[str]) -> str:
    return f"%{ord(found[0]) - 0xDC00:02X}"


def _json_object(content_type: str, body: bytes) -> dict[str, Any]:
    if not is_json(content_type):
        raise BadInputError("Expects Content-Type to be application/json", 415)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        if not body:
            raise BadInputError("POST body is empty. Expecting a JSON dictionary.") from None
        raise BadInputError(f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(values, dict):
        raise BadInputError("POST body should be a JSON dictionary.")
    return values
