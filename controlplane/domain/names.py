"""What resources may be called, and how their full names are put together and taken apart.

Rules from the contract of the hosted service (``behaviours``): endpoints and deployments 3 to 32 characters, models
and environments up to 255.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.domain.errors import InvalidArgumentError, Violation

_SHORT = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_ASSET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-._]{0,254}")
_VERSION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-._]{0,49}")
_SHORT_MIN, _SHORT_MAX = 3, 32
LATEST = "latest"
"""The version alias that is resolved when a call is made."""


def check_short_name(field: str, name: str) -> None:
    """Accept the name of an endpoint or a deployment, or raise :class:`InvalidArgumentError` naming ``field``."""
    if not _SHORT_MIN <= len(name) <= _SHORT_MAX or not _SHORT.fullmatch(name):
        raise InvalidArgumentError(
            Violation(
                field,
                f"'{name}' is not a valid name: 3 to 32 characters, a letter first, then letters, digits and "
                "hyphens, no hyphen at the end",
            )
        )


def check_registered_name(field: str, name: str) -> None:
    """Accept the name of a model or an environment, or raise :class:`InvalidArgumentError` naming ``field``."""
    if not _ASSET.fullmatch(name):
        raise InvalidArgumentError(
            Violation(
                field,
                f"'{name}' is not a valid name: 1 to 255 letters, digits, hyphens, dots and underscores, "
                "a letter or digit first",
            )
        )


def check_version(field: str, version: str) -> None:
    """Accept a version, or raise :class:`InvalidArgumentError` naming ``field``. ``latest`` is reserved."""
    if not _VERSION.fullmatch(version) or version == LATEST:
        raise InvalidArgumentError(
            Violation(
                field,
                f"'{version}' is not a valid version: 1 to 50 letters, digits, hyphens, dots and underscores",
            )
        )


@dataclass(frozen=True, slots=True)
class Versioned:
    """A model or an environment by name and version."""

    name: str
    version: str

    def __str__(self) -> str:
        """``NAME:VERSION``, as people write it."""
        return f"{self.name}:{self.version}"


def endpoint_name(endpoint: str) -> str:
    """``endpoints/ENDPOINT``."""
    return f"endpoints/{endpoint}"


def deployment_name(endpoint: str, deployment: str) -> str:
    """``endpoints/ENDPOINT/deployments/DEPLOYMENT``."""
    return f"endpoints/{endpoint}/deployments/{deployment}"


def instance_name(endpoint: str, deployment: str, instance: str) -> str:
    """``endpoints/ENDPOINT/deployments/DEPLOYMENT/instances/INSTANCE``."""
    return f"endpoints/{endpoint}/deployments/{deployment}/instances/{instance}"


def parse(pattern: str, field: str, name: str) -> tuple[str, ...]:
    """The variable parts of ``name`` by ``pattern``, such as ``endpoints/{}/deployments/{}``.

    Raises:
        InvalidArgumentError: the name has another shape.
    """
    want, have = pattern.split("/"), name.split("/")
    if len(want) == len(have) and all(h and w in ("{}", h) for w, h in zip(want, have, strict=True)):
        return tuple(h for w, h in zip(want, have, strict=True) if w == "{}")
    raise InvalidArgumentError(Violation(field, f"'{name}' does not have the form {pattern.replace('{}', 'NAME')}"))
