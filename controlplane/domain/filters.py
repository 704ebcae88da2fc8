r"""The filter of list calls: terms joined by AND, as the comments of ``ListEndpointsRequest.filter`` say.

::

    filter = [ term { "AND" term } ]
    term   = ( "name" | "target" ) ( "=" | ":" ) value
           | "tags." key "=" value
           | ( "provisioning_state" | "state" ) "=" value
           | ( "anonymous" | "done" ) "=" ( "true" | "false" )
    value  = a word without spaces, or "text" with \" and \\ inside

Endpoints, deployments, models and environments have a name, tags and the like; instances a name and a state; operations
a target, and they are done or not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.instances import InstanceState
from controlplane.domain.status import ProvisioningState

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[=:])|(?P<word>[^\s"=:]+)|(?P<other>\S))')
_ESCAPE = re.compile(r"\\(.)")


class FilterField(Enum):
    """What can be filtered by."""

    NAME = "name"
    TAGS = "tags"
    STATE = "provisioning_state"
    ANONYMOUS = "anonymous"
    INSTANCE_STATE = "state"
    TARGET = "target"
    DONE = "done"


_NAMES = (FilterField.NAME, FilterField.TARGET)
_STATES: dict[FilterField, type[ProvisioningState | InstanceState]] = {
    FilterField.STATE: ProvisioningState,
    FilterField.INSTANCE_STATE: InstanceState,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter; the empty one matches everything."""

    names: tuple[str, ...] = ()
    """Of the resource; of an operation, its target's."""
    parts: tuple[str, ...] = ()
    """Each must be within the name, whatever the case."""
    tags: tuple[tuple[str, str], ...] = ()
    states: tuple[ProvisioningState | InstanceState, ...] = field(default=())
    anonymous: bool | None = None
    done: bool | None = None

    @property
    def empty(self) -> bool:
        """Whether it matches everything."""
        return self == Filter()

    def matches(
        self, name: str, tags: Mapping[str, str], state: ProvisioningState | InstanceState | None = None
    ) -> bool:
        """Whether a resource of this name, with these tags and in this state, is meant; the rest is ignored."""
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
    states: list[ProvisioningState | InstanceState] = []
    flags: dict[FilterField, bool] = {}
    for term_field, key, sign, value in _terms(tokens, allowed):
        if term_field in _NAMES:
            (names if sign == "=" else parts).append(value)
        elif sign == ":":
            raise _refusal(f"':' works on {_listed(_NAMES, allowed)} alone, not on {term_field.value}")
        elif term_field is FilterField.TAGS:
            tags.append((key, value))
        elif term_field in _STATES:
            states.append(_state(term_field, value))
        elif value.lower() in ("true", "false"):
            flags[term_field] = value.lower() == "true"
        else:
            raise _refusal(f"{term_field.value} is true or false, not '{value}'")
    return Filter(
        tuple(names),
        tuple(parts),
        tuple(tags),
        tuple(states),
        flags.get(FilterField.ANONYMOUS),
        flags.get(FilterField.DONE),
    )


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
    raise _refusal(f"'{word}' cannot be filtered by; there are: {_listed(FilterField, allowed)}")


def _listed(fields: Iterable[FilterField], allowed: Collection[FilterField]) -> str:
    return ", ".join("tags.KEY" if f is FilterField.TAGS else f.value for f in fields if f in allowed)


def _state(term_field: FilterField, value: str) -> ProvisioningState | InstanceState:
    states = _STATES[term_field]
    for state in states:
        if state.name == value.upper().removeprefix("PROVISIONING_STATE_").removeprefix("INSTANCE_STATE_"):
            return state
    known = ", ".join(state.name for state in states)
    raise _refusal(f"{term_field.value} is one of {known}, not '{value}'")


def _refusal(description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        Violation("filter", description), hint='For example: name : "blue" AND tags.team = "vision"'
    )
