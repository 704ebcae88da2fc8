"""What an environment is asked to hold, whichever file said so."""

from __future__ import annotations

from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


class EnvironmentFileError(Exception):
    """The conda or pip file cannot be understood; one sentence, with the line where it is known."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How what is built differs from what was asked for."""

    text: str
    """One sentence."""
    equivalent: bool = False
    """It serves the same purpose, so that a strict environment may have it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One package."""

    line: str
    """As pip reads it: ``scikit-learn==0.22.1``, ``torch @ https://...``."""
    name: str = ""
    """Normalised; empty for an address whose name is not known yet."""
    specifier: str = ""
    """PEP 440; empty when any version will do."""
    asked: str = ""
    """The version as the user wrote it."""

    def pinned(self, specifier: str) -> Wanted:
        """The same package (its extras and marker too) with another specifier."""
        requirement = Requirement(self.line)
        requirement.specifier = SpecifierSet(specifier)
        return Wanted(line=str(requirement), name=self.name, specifier=specifier, asked=self.asked)


@dataclass(frozen=True, slots=True)
class WantedEnvironment:
    """Everything one environment file asks for."""

    python: str = ""
    """PEP 440 specifier of the interpreter, such as ``==3.8.*``; empty when any will do."""
    packages: tuple[Wanted, ...] = ()
    options: tuple[str, ...] = ()
    """Lines for the installer, such as ``--extra-index-url https://...``."""
    differences: tuple[Difference, ...] = field(default=())


def wanted(line: str, asked: str = "") -> Wanted:
    """One requirement as pip writes it.

    Raises:
        EnvironmentFileError: it is none, or names a path on the machine it was written on.
    """
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        if line.startswith(("git+", "https://", "http://")):
            return Wanted(line=line)
        if line.startswith((".", "/", "~", "file:")) or line.endswith((".whl", ".tar.gz", ".zip")):
            raise EnvironmentFileError(
                f"'{line}' is a path on the machine where it was written; put the code into the deployment's "
                "code folder, or the package on a package index"
            ) from error
        raise EnvironmentFileError(f"'{line}' is not a package requirement") from error
    specifier = str(requirement.specifier)
    return Wanted(
        line=line,
        name=canonicalize_name(requirement.name),
        specifier=specifier,
        asked=asked or (specifier.removeprefix("==") if specifier.startswith("==") else specifier),
    )
