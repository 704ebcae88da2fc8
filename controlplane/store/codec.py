"""Dataclasses as JSON text and back, so that specs evolve without a migration for every field.

A codec is built once from a class's type hints and refuses, when it is built, a type it cannot keep exactly. What is
written carries a version. Reading gives fields that are missing their defaults (they were added later) and refuses
fields that are unknown (a newer Penstock wrote them), because dropping them would lose what a user asked for.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from controlplane.domain.errors import StoreError

T = TypeVar("T")
VERSION = 1
CACHED = 8192
"""Values kept decoded: a resync of 1,000 endpoints reads the same texts again and again."""
Convert = Callable[[Any], Any]


class Codec(Generic[T]):
    """Text for values of one type, and values for the text."""

    def __init__(self, kind: Any) -> None:
        """Raises TypeError for a type that holds something JSON could not give back exactly."""
        self._name = getattr(kind, "__name__", str(kind))
        self._encode, self._decode = _converters(kind)
        self._load = lru_cache(CACHED)(self._read)

    def dump(self, value: T) -> str:
        """The same text for equal values."""
        return json.dumps(
            {"v": VERSION, "is": self._encode(value)}, sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    def load(self, text: str) -> T:
        """What was dumped. Equal texts may give the same value, so never change the maps in it.

        Raises:
            StoreError: the text is damaged, or a newer Penstock wrote it.
        """
        return self._load(text)

    def _read(self, text: str) -> T:
        try:
            content = json.loads(text)
            if content["v"] == VERSION:
                return self._decode(content["is"])  # type: ignore[no-any-return]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"a stored {self._name} cannot be read: {error}", hint=_HINT) from error
        raise StoreError(f"a stored {self._name} has the unknown format {content['v']}", hint=_HINT)


_HINT = "start the version of Penstock that wrote the database, or restore a backup of it"


def _converters(kind: Any) -> tuple[Convert, Convert]:
    found = _scalar(kind) or _container(kind, get_origin(kind), get_args(kind))
    if found is None:
        raise TypeError(f"{kind} has no exact form in JSON")
    return found


def _scalar(kind: Any) -> tuple[Convert, Convert] | None:
    if kind in (str, int, bool):
        return _same, _exactly(kind)
    if kind is float:
        return float, _number
    if kind is datetime:
        return datetime.isoformat, datetime.fromisoformat
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _value, kind
    return None


def _container(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> tuple[Convert, Convert] | None:
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (a for a in arguments if a is not type(None))
        return _optional(inner)
    if origin is Mapping and arguments[0] is str:
        return _mapping(arguments[1])
    if origin is tuple and arguments[1:] == (...,):
        return _sequence(arguments[0])
    return None


def _same(value: Any) -> Any:
    return value


def _value(member: Any) -> Any:
    return member.value


def _exactly(kind: type) -> Convert:
    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return value

    return decode


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _optional(kind: Any) -> tuple[Convert, Convert]:
    encode, decode = _converters(kind)
    return (
        lambda value: None if value is None else encode(value),
        lambda value: None if value is None else decode(value),
    )


def _mapping(kind: Any) -> tuple[Convert, Convert]:
    encode, decode = _converters(kind)
    return (
        lambda value: {key: encode(item) for key, item in value.items()},
        lambda value: {key: decode(item) for key, item in value.items()},
    )


def _sequence(kind: Any) -> tuple[Convert, Convert]:
    encode, decode = _converters(kind)
    return (lambda value: [encode(item) for item in value], lambda value: tuple(decode(item) for item in value))


def _dataclass(kind: Any) -> tuple[Convert, Convert]:
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    encoders = {name: _converters(hints[name])[0] for name in names}
    decoders = {name: _converters(hints[name])[1] for name in names}

    def encode(value: Any) -> dict[str, Any]:
        return {name: convert(getattr(value, name)) for name, convert in encoders.items()}

    def decode(content: Any) -> Any:
        return kind(**{name: decoders[name](item) for name, item in content.items()})

    return encode, decode
