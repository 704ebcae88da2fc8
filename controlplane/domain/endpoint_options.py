"""What an endpoint's ``properties`` ask of the gateway: limits and traffic the hosted service's YAML has no field for.

Properties are free text and mean nothing to anybody, except those that begin with ``penstock.``: they are read here,
all of them, and a name or a value nobody knows is refused instead of being ignored. docs/traffic-and-limits.md lists
them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controlplane.domain.errors import Violation

PREFIX = "penstock."
REQUESTS_MAX = 1_000_000
BYTES_MAX = 1 << 30
"""1 GiB: a body is kept in the gateway's memory."""
IDLE_SECONDS_MAX = 86_400
SLOW_START_SECONDS_MAX = 3_600
_PERIODS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE = re.compile(r"([0-9]{1,9})(?: */ *([a-z]+))?")
_NUMBER = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TRUTH = {"true": True, "false": False}


class Retry(StrEnum):
    """When the gateway tries a request once more, on another instance."""

    UNANSWERED = "unanswered"
    UNSENT = "unsent"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests in so many seconds."""

    requests: int
    seconds: int = 1


class StickyBy(StrEnum):
    """Where clients are told apart."""

    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Sticky:
    """The header or the cookie that tells clients apart."""

    by: StickyBy
    name: str


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What is asked of the gateway, with its defaults."""

    rate_limit_per_key: Rate | None = None
    max_request_bytes: int = 16 * 1024 * 1024
    stream_requests: bool = False
    """Pass request bodies on as they arrive."""
    retry: Retry = Retry.UNANSWERED
    sticky: Sticky | None = None
    sticky_instances: bool = False
    slow_start_seconds: int = 0
    websocket: bool = False
    """Let connections be upgraded to WebSocket."""
    stream_idle_timeout_seconds: int = 300
    """Silence after which a WebSocket or a bidirectional gRPC stream is closed."""


def endpoint_options(properties: Mapping[str, str]) -> tuple[EndpointOptions, tuple[Violation, ...]]:
    """The options among ``properties``, and what is wrong with them; what is wrong has its default."""
    options, mistakes = EndpointOptions(), []
    for key, text in properties.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name not in _READERS:
            mistakes.append(Violation(_field(name), _unknown(name)))
            continue
        try:
            options = replace(options, **{name: _READERS[name](text.strip())})
        except ValueError as error:
            mistakes.append(Violation(_field(name), f"is '{text}', and {error}"))
    mistakes += _contradictions(options)
    return options, tuple(mistakes)


def misplaced_options(properties: Mapping[str, str]) -> Iterator[Violation]:
    """What is wrong with the properties of anything but an endpoint: nothing there is read."""
    for key in properties:
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            yield Violation(_field(name), "belongs into the endpoint's properties; a deployment has none of its own")


def _field(name: str) -> str:
    return f"properties.{PREFIX}{name}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _READERS, n=1)
    meant = f"did you mean '{PREFIX}{near[0]}'?" if near else f"there are: {', '.join(_READERS)}"
    return f"is no option of an endpoint ({meant})"


def _contradictions(options: EndpointOptions) -> Iterator[Violation]:
    if options.sticky_instances and options.sticky is None:
        yield Violation(
            _field("sticky_instances"), "needs 'penstock.sticky', which says by what clients are told apart"
        )
    if options.sticky_instances and options.slow_start_seconds:
        yield Violation(
            _field("slow_start_seconds"),
            "cannot be had with 'penstock.sticky_instances': a client's instance is its own from the first request",
        )


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    seconds = _PERIODS.get(found[2] or "second") if found else None
    requests = int(found[1]) if found else 0
    if seconds is None or not 1 <= requests <= REQUESTS_MAX:
        raise ValueError(f"a rate is 1 to {REQUESTS_MAX} per second, minute, hour or day, such as 100/minute")
    return Rate(requests, seconds)


def _between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high} is taken")
        return int(text)

    return read


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError("true or false is taken")
    return _TRUTH[text.lower()]


def _retry(text: str) -> Retry:
    try:
        return Retry(text)
    except ValueError:
        raise ValueError(f"one of {', '.join(Retry)} is taken") from None


def _sticky(text: str) -> Sticky:
    by, _, name = text.partition(":")
    if by not in set(StickyBy) or not _TOKEN.fullmatch(name):
        raise ValueError("header:NAME or cookie:NAME is taken")
    return Sticky(StickyBy(by), name.lower() if by == StickyBy.HEADER else name)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "rate_limit_per_key": _rate,
    "max_request_bytes": _between(1, BYTES_MAX),
    "stream_requests": _truth,
    "retry": _retry,
    "sticky": _sticky,
    "sticky_instances": _truth,
    "slow_start_seconds": _between(0, SLOW_START_SECONDS_MAX),
    "websocket": _truth,
    "stream_idle_timeout_seconds": _between(1, IDLE_SECONDS_MAX),
}
