"""From what was asked for to what can be had: first exactly, then as little beside it as possible.

1. The interpreter that was asked for with the packages as asked for.
2. Where a package has no build for that interpreter: the same packages on the next nearest one.
3. On the nearest interpreter, one package at a time as they are reported: the nearest newer version that has a build
   (a model saved with 0.22.1 loads with 1.1.3 rather than with the latest), then any that is not older, then any.

Each step away is a :class:`Difference` with its reason. A package without any wheel at all (an old pure-Python one) is
built from source; one that has wheels for other Pythons is not, for that takes minutes and hardly ever succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from controlplane.backends.environments.wanted import Difference, Wanted, WantedEnvironment
from controlplane.backends.process.interpreters import Choice, Interpreter
from controlplane.backends.process.uv_errors import Obstacle, UvError

_UNBUILDABLE = (Obstacle.NO_WHEEL, Obstacle.BUILD_FAILED)


class Solver(Protocol):
    """What this needs of uv."""

    async def solve(
        self, packages: Sequence[str], interpreter: Interpreter, sources: frozenset[str]
    ) -> tuple[str, ...]:
        """Exact versions of everything, the scorer's needs included; ``sources`` may be built.

        Raises:
            UvError: there is no such set.
        """

    async def build(self, solution: Sequence[str], interpreter: Interpreter, sources: frozenset[str]) -> None:
        """Make the environment. Raises as :meth:`solve`."""

    async def nearest(self, package: Wanted, interpreter: Interpreter) -> str | None:
        """The lowest version above what was asked for (else the highest below) that has a wheel here."""

    async def has_wheels(self, package: str, interpreter: Interpreter) -> bool:
        """Whether ``package`` (``NAME==VERSION``) has wheels for any Python at all."""


@dataclass(frozen=True, slots=True)
class Built:
    """The environment that was made."""

    interpreter: Interpreter
    solution: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class _Attempt:
    """One interpreter, and how far the packages have been relaxed on it."""

    choice: Choice
    packages: list[Wanted]
    sources: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a package is not as it was asked for."""
    steps: dict[str, int] = field(default_factory=dict)


async def build_nearest(
    wanted: WantedEnvironment, choices: Sequence[Choice], solver: Solver, progress: Callable[[str], None]
) -> Built:
    """Build ``wanted`` on the first of ``choices`` if that is possible, else what comes nearest.

    Raises:
        UvError: nothing near can be had, or the package index cannot be reached.
    """
    for choice in choices:
        attempt = _Attempt(choice, list(wanted.packages))
        progress(f"resolving {_count(wanted)} for Python {choice.interpreter.short}")
        try:
            return await _build(attempt, solver, progress)
        except UvError as error:
            if error.obstacle in _UNBUILDABLE:
                continue
            if error.obstacle not in (Obstacle.CONFLICT, Obstacle.NO_VERSION):
                raise
            break
    attempt = _Attempt(choices[0], list(wanted.packages))
    # Each step relaxes one package by one of three steps, so it ends.
    while True:
        try:
            return await _build(attempt, solver, progress)
        except UvError as error:
            if not await _relax(attempt, error, solver, progress):
                raise


async def _build(attempt: _Attempt, solver: Solver, progress: Callable[[str], None]) -> Built:
    interpreter = attempt.choice.interpreter
    while True:
        sources = frozenset(attempt.sources)
        try:
            solution = await solver.solve([each.line for each in attempt.packages], interpreter, sources)
            progress(f"installing {len(solution)} packages for Python {interpreter.short}")
            await solver.build(solution, interpreter, sources)
        except UvError as error:
            if error.obstacle is not Obstacle.NO_WHEEL or not await _may_be_built(error, attempt, solver):
                raise
            attempt.sources.add(error.packages[0])
        else:
            return Built(interpreter, solution, _differences(attempt, solution))


async def _may_be_built(error: UvError, attempt: _Attempt, solver: Solver) -> bool:
    name = error.packages[0]
    if name in attempt.sources:
        return False
    return not await solver.has_wheels(f"{name}{error.version}", attempt.choice.interpreter)


async def _relax(attempt: _Attempt, error: UvError, solver: Solver, progress: Callable[[str], None]) -> bool:
    """Ask a little less of one package; False when nothing can be given up."""
    interpreter = attempt.choice.interpreter
    relaxable = {each.name: index for index, each in enumerate(attempt.packages) if each.name and each.specifier}
    blamed = [name for name in error.packages if name in relaxable]
    if not blamed or error.obstacle not in (*_UNBUILDABLE, Obstacle.NO_VERSION, Obstacle.CONFLICT):
        return False
    if error.obstacle is Obstacle.CONFLICT or error.packages[0] != blamed[0]:
        name, reason = blamed[-1], _conflict_reason(blamed)
        steps = 3
    else:
        name = blamed[0]
        reason = (
            "there is no such version"
            if error.obstacle is Obstacle.NO_VERSION
            else f"no build of it for Python {interpreter.short}"
        )
        steps = attempt.steps.get(name, 0) + 1
    package = attempt.packages[relaxable[name]]
    original = package.specifier if name not in attempt.steps else ""
    specifier = ""
    if steps == 1:
        near = await solver.nearest(package, interpreter)
        specifier = f"=={near}" if near else ""
    elif steps == 2 and package.specifier.startswith("=="):  # noqa: PLR2004  # the second of three steps
        specifier = package.specifier.replace("==", ">=", 1)
    progress(f"{name} {package.asked or original} cannot be had ({reason}); trying {specifier or 'any version'}")
    attempt.packages[relaxable[name]] = package.pinned(specifier)
    attempt.steps[name] = steps
    attempt.reasons.setdefault(name, reason)
    return True


def _conflict_reason(blamed: Sequence[str]) -> str:
    others = [name for name in blamed if name != blamed[-1]]
    return f"it does not go together with {' and '.join(others[:2]) or 'the other packages'}"


def _differences(attempt: _Attempt, solution: Sequence[str]) -> tuple[Difference, ...]:
    got = dict(_name_and_version(line) for line in solution)
    differences = [attempt.choice.difference] if attempt.choice.difference else []
    for package in attempt.packages:
        if package.name in attempt.reasons:
            now, reason = got.get(package.name, "left out"), attempt.reasons[package.name]
            differences.append(Difference(f"{package.name} {package.asked} -> {now}: {reason}"))
    return tuple(differences)


def _name_and_version(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return canonicalize_name(name.split("[")[0].split("@")[0].strip()), version.split(";")[0].strip()


def _count(wanted: WantedEnvironment) -> str:
    number = len(wanted.packages)
    return f"{number} package{'' if number == 1 else 's'}" if number else "the scorer alone"


def above_and_below(specifier: str) -> tuple[str, str]:
    """Specifiers for what is newer, and what is older, than everything ``specifier`` names."""
    versions = sorted(Version(each.version.removesuffix(".*")) for each in SpecifierSet(specifier))
    return f">{versions[-1]}", f"<{versions[0]}"
