"""One conda match specification, such as ``conda-forge::numpy>=1.18,<2``, in the terms of PEP 440.

Source: conda's documentation of package match specifications. ``=1.2`` is fuzzy and means ``1.2.*``; ``==1.2`` is
exact; a version without an operator is exact after a space (``numpy 1.2``); ``,`` is and, ``|`` is or; a third part
is a build string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from controlplane.backends.environments.wanted import EnvironmentFileError

_SPEC = re.compile(
    r"(?:(?P<channel>[^\s=<>!~|,]+)::)?(?P<name>[A-Za-z0-9_][\w.\-]*)"
    r"(?:\s*\[\s*version\s*=\s*['\"]?(?P<bracket>[^'\"\]]*)['\"]?[^\]]*\]|(?P<rest>.*))"
)
_VERSION_BUILD = re.compile(r"(.*[^<>=!~,|])=([^<>=!~,|]+)")
_CLAUSE = re.compile(r"(===|==|!=|<=|>=|~=|=|<|>)?\s*(\S+)")


@dataclass(frozen=True, slots=True)
class CondaSpec:
    """What one line asks for."""

    name: str
    """As conda calls it."""
    specifier: str
    """PEP 440; empty for any version."""
    asked: str
    """The version as written."""
    build: str = ""
    """A build string, which only conda's own builds have."""
    lost: str = ""
    """What of the version PEP 440 cannot say, as half a sentence; empty if nothing."""


def parse(text: str) -> CondaSpec:
    """Take one line apart.

    Raises:
        EnvironmentFileError: it is no match specification.
    """
    found = _SPEC.fullmatch(text.strip())
    if not found:
        raise EnvironmentFileError(f"'{text}' is not a conda package specification")
    version, build = _version_and_build(found["bracket"] if found["bracket"] is not None else found["rest"])
    asked, alternatives = version.lstrip("="), version.split("|")
    lost = f"'{asked}' was read as '{alternatives[-1].lstrip('=')}'" if len(alternatives) > 1 else ""
    try:
        clauses = [_clause(clause) for clause in alternatives[-1].split(",") if clause.strip()]
        specifier = str(SpecifierSet(",".join(clause for clause in clauses if clause)))
    except (InvalidSpecifier, InvalidVersion):
        specifier, lost = "", f"the version '{asked}' cannot be chosen"
    return CondaSpec(name=found["name"], specifier=specifier, asked=asked, build=build.strip("*"), lost=lost)


def _version_and_build(rest: str) -> tuple[str, str]:
    rest = re.sub(r"\s*([=<>!~]=?|,|\|)\s*", r"\1", rest.strip())  # blanks around operators mean nothing
    if not rest:
        return "", ""
    version, _, build = rest.partition(" ")
    if with_build := _VERSION_BUILD.fullmatch(version.lstrip("=")):
        version, build = with_build.groups()
    if version[0].isdigit():
        version = f"=={version}"  # `numpy 1.2`, `numpy=1.2=py38_0`: exact
    return version, build.strip()


def _clause(text: str) -> str:
    found = _CLAUSE.fullmatch(text.strip())
    if not found:
        raise InvalidSpecifier(text)
    operator, version = found[1] or "==", found[2]
    if version == "*":
        return ""
    bare = version.removesuffix("*").removesuffix(".")
    Version(bare)
    if operator == "=" or (operator == "==" and version.endswith("*")):
        return f"=={bare}.*"
    if operator == "!=" and version.endswith("*"):
        return f"!={bare}.*"
    return f"{operator}{bare}"
