"""What uv's messages mean: which package stands in the way, and why. Written against uv 0.9 to 0.13."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from packaging.utils import canonicalize_name


class Obstacle(StrEnum):
    """Kinds of failure that call for different answers."""

    NO_WHEEL = "no wheel"
    """There is such a version, but no wheel of it that this interpreter can use."""
    BUILD_FAILED = "build failed"
    """It had to be built from source, and that failed."""
    NO_VERSION = "no version"
    """The package exists, that version does not."""
    NO_PACKAGE = "no package"
    CONFLICT = "conflict"
    """Packages contradict each other."""
    NETWORK = "network"
    DISK_FULL = "disk full"
    REFUSED = "refused"
    """The package index wants credentials, or others."""
    OTHER = "other"


TRANSIENT = (Obstacle.NETWORK, Obstacle.DISK_FULL)
"""The same may succeed later."""


class UvError(Exception):
    """uv failed. The message is one sentence for a user."""

    def __init__(
        self, obstacle: Obstacle, message: str, *, packages: tuple[str, ...] = (), version: str = "", output: str = ""
    ) -> None:
        super().__init__(message)
        self.obstacle = obstacle
        self.packages = packages
        """Normalised names: the one it is about first, then the others that are named."""
        self.version = version
        """Of the first of them, such as ``==1.2``; may be empty."""
        self.output = output

    @classmethod
    def silent(cls, exit_code: int | None) -> UvError:
        """It said nothing; a negative exit code is the signal that killed it."""
        return cls(Obstacle.OTHER, f"uv ended without a word (exit code {exit_code})")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    obstacle: Obstacle
    sentence: str


_NAME = r"(?P<name>[A-Za-z0-9][\w.\-]*?)(?:\[[\w,]*\])?"
_VERSION = r"(?:(?P<version>(?:===|[<>=!~]=|[<>])[^\s`]+))?"
_RULES = [
    _Rule(re.compile(r"No space left on device|Disk quota exceeded"), Obstacle.DISK_FULL, "the disk is full"),
    _Rule(
        re.compile(r"(?:status code|HTTP status client error) \(?(?P<version>401|403)"),
        Obstacle.REFUSED,
        "the package index answered {version}: it wants other credentials",
    ),
    _Rule(
        re.compile(
            r"error sending request|dns error|tcp connect error|Connection refused|operation timed out|network is "
            r"unreachable|HTTP status server error|unexpected EOF during|connection reset|Failed to fetch: |"
            r"network connectivity is disabled",
            re.IGNORECASE,
        ),
        Obstacle.NETWORK,
        "the package index cannot be reached",
    ),
    _Rule(
        re.compile(rf"Failed to (?:download and )?build `{_NAME}{_VERSION}`"),
        Obstacle.BUILD_FAILED,
        "{name}{version} has to be built from source here, and that failed",
    ),
    _Rule(
        re.compile(rf"{_NAME}{_VERSION} has no (?:usable wheels|wheels with a matching|source distribution)"),
        Obstacle.NO_WHEEL,
        "there is no build of {name}{version} for this Python and this machine",
    ),
    _Rule(
        re.compile(rf"(?:does not satisfy Python\S+ and|because) {_NAME}{_VERSION} depends on Python", re.IGNORECASE),
        Obstacle.NO_WHEEL,
        "{name}{version} does not run on this Python",
    ),
    _Rule(
        re.compile(rf"{_NAME} was not found in (?:the package registry|the provided)"),
        Obstacle.NO_PACKAGE,
        "there is no package '{name}' on the package index",
    ),
    _Rule(
        re.compile(rf"there (?:is|are) no versions? of {_NAME}{_VERSION}(?=[\s,]|$)"),
        Obstacle.NO_VERSION,
        "there is no {name}{version} on the package index",
    ),
    _Rule(
        re.compile(
            rf"only the following versions of {_NAME} are available:.*? require "
            rf"(?P=name)(?:\[[\w,]*\])?{_VERSION}(?=[\s,]|$)"
        ),
        Obstacle.NO_VERSION,
        "there is no {name}{version} on the package index",
    ),
    _Rule(
        re.compile(rf"only {_NAME}{_VERSION}(?:,\S+)? (?:is|are) available"),
        Obstacle.NO_VERSION,
        "there is no version of {name} on the package index that would do",
    ),
]
_DEPENDS = re.compile(rf"{_NAME}{_VERSION}(?:,\S+)? depends? on ")
_REQUIRES = re.compile(r"you require (?:\S+ and )?" + _NAME + _VERSION + r"(?=[\s,]|$)")
_NAMED = re.compile(rf"(?:^|\s){_NAME}(?:[<>=!~]=?|===)[^\s]+")


def explain(output: str) -> UvError:
    """The failure that ``output`` (of a uv that failed) speaks of."""
    text = " ".join(output.split())
    for rule in _RULES:
        if found := rule.pattern.search(text):
            groups = {key: value or "" for key, value in found.groupdict().items()}
            name = groups.get("name", "")
            version = groups.get("version", "").rstrip(",")
            message = rule.sentence.format(**{**groups, "version": version})
            packages = (canonicalize_name(name), *_all_named(text)) if name else ()
            named = tuple(dict.fromkeys(packages))
            return UvError(rule.obstacle, message, packages=named, version=version if name else "", output=output)
    if "No solution found" in text:
        cause = re.search(r"cause: (.*?)(?:, we can conclude|$)", text)
        message = f"the packages contradict each other: {_plain(cause[1]) if cause else 'see the build log'}"
        return UvError(Obstacle.CONFLICT, message, packages=_all_named(text), output=output)
    return UvError(Obstacle.OTHER, _first_line(output), output=output)


def _all_named(text: str) -> tuple[str, ...]:
    names = [canonicalize_name(found["name"]) for found in _NAMED.finditer(text)]
    names += [canonicalize_name(found["name"]) for found in _REQUIRES.finditer(text)]
    names += [canonicalize_name(found["name"]) for found in _DEPENDS.finditer(text)]
    return tuple(name for name in dict.fromkeys(names) if name != "python")


def _plain(cause: str) -> str:
    return re.sub(r"^Because ", "", cause).replace("you require", "the environment asks for")


def _first_line(output: str) -> str:
    for line in output.splitlines():
        if said := re.sub(r"^(error|cause)[:\s]*", "", line.strip()):
            return said
    return "uv failed"
