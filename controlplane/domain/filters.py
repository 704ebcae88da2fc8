r"""The filter of list calls: terms joined by AND, as the comments of ``ListEndpointsRequest.filter`` say.

::

    filter = [ term { "AND" term } ]
    term   = "name" ( "=" | ":" ) value
           | "tags." key "=" value
           | "provisioning_state" "=" value
           | "anonymous" "=" ( "true" | "false" )
    value  = a word without spaces, or "text" with \" and \\ inside
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.status import ProvisioningState

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[=:])|(?P<word>[^\s"=:]+)|(?P<other>\S))')
_ESCAPE = re.compile(r"\\(.)")


class FilterField(Enum):
    """What can be filtered by."""

    NAME = "name"
    TAGS = "tags"
    STATE = "provisioning_state"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter; the empty one matches everything."""

    names: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    """Each must be within the name, whatever the case."""
    tags: tuple[tuple[str, str], ...] = ()
    states: tuple[ProvisioningState, ...] = field(default=())
    anonymous: bool | None = None

    @property
    def empty(self) -> bool:
        """Whether it matches everything."""
        return self == Filter()

    def matches(self, name: str, tags: Mapping[str, str], state: ProvisioningState | None = None) -> bool:
        """Whether a resource of this name, with these tags and in this state, is meant; ``anonymous`` is ignored."""
        return (
            all(name == wanted for wanted in self.names)
            and all(part.lower() in name.lower() for part in self.parts)
            and all(tags.get(key) == value for key, value in self.tags)
            and all(state is wanted for wanted in self.states)
        )


def parse_filter(text: str, allowed: Collection[FilterField]) -> Filter:
    """Read a filter.

    Raises:
        InvalidArgumentError: naming what was not understood and what would be.
    """
    tokens = list(_tokens(text))
    names: list[str] = []
    parts: list[str] = []
    tags: list[tuple[str, str]] = []
    states: list[ProvisioningState] = []
    anonymous: bool | None = None
    for term_field, key, sign, value in _terms(tokens, allowed):
        if term_field is FilterField.NAME:
            (names if sign == "=" else parts).append(value)
        elif sign == ":":
            raise _refusal(f"':' works on name alone, not on {term_field.value}")
        elif term_field is FilterField.TAGS:
            tags.append((key, value))
        elif term_field is FilterField.STATE:
            states.append(_state(value))
        elif value.lower() in ("true", "false"):
            anonymous = value.lower() == "true"
        else:
            raise _refusal(f"anonymous is true or false, not '{value}'")
    return Filter(tuple(names), tuple(parts), tuple(tags), tuple(states), anonymous)


def quoted(value: str) -> str:
    """``value`` as a filter's text."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        token = match[kind]
        if kind == "other":
            raise _refusal(f"a text that starts with {token} does not end")
        yield kind, _ESCAPE.sub(r"\1", token[1:-1]) if kind == "text" else token


def _terms(
    tokens: list[tuple[str, str]], allowed: Collection[FilterField]
) -> Iterator[tuple[FilterField, str, str, str]]:
    while tokens:
        term_field, key = _field(tokens, allowed)
        kind, sign = tokens.pop(0) if tokens else ("", "")
        if kind != "sign":
            raise _refusal(f"after '{term_field.value}' there must be = or :, not '{sign}'")
        kind, value = tokens.pop(0) if tokens else ("", "")
        if kind not in ("text", "word"):
            raise _refusal(f"after '{term_field.value} {sign}' there must be a value")
        yield term_field, key, sign, value
        if tokens and (tokens.pop(0) != ("word", "AND") or not tokens):
            raise _refusal("terms are joined by AND")


def _field(tokens: list[tuple[str, str]], allowed: Collection[FilterField]) -> tuple[FilterField, str]:
    kind, word = tokens.pop(0)
    name, dot, key = word.partition(".")
    if kind == "word" and name == "tags" and dot and not key and tokens and tokens[0][0] == "text":
        key = tokens.pop(0)[1]  # tags."a key with spaces"
    for candidate in allowed:
        if kind == "word" and candidate.value == name and bool(key) == (candidate is FilterField.TAGS):
            return candidate, key
    fields = ", ".join("tags.KEY" if f is FilterField.TAGS else f.value for f in FilterField if f in allowed)
    raise _refusal(f"'{word}' cannot be filtered by; there are: {fields}")


def _state(value: str) -> ProvisioningState:
    for state in ProvisioningState:
        if state.value.upper() == value.upper().removeprefix("PROVISIONING_STATE_"):
            return state
    known = ", ".join(state.value.upper() for state in ProvisioningState)
    raise _refusal(f"provisioning_state is one of {known}, not '{value}'")


def _refusal(description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        Violation("filter", description), hint='For example: name : "blue" AND tags.team = "vision"'
    )
