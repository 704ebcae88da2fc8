"""The way from what was asked for to what can be had, with an index made up for the purpose."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from controlplane.backends.environments.wanted import Wanted, WantedEnvironment, wanted
from controlplane.backends.process.fallback import above_and_below, build_nearest
from controlplane.backends.process.interpreters import Choice, Interpreter, NoInterpreterError, choices
from controlplane.backends.process.uv_errors import Obstacle, UvError

PY310, PY311, PY312 = (Interpreter(f"/py/{v}", Version(v)) for v in ("3.10.13", "3.11.7", "3.12.1"))
PY38 = Interpreter("/py/3.8", Version("3.8.18"))


@dataclass
class Index:
    """Packages by name and version; for each the Pythons that have a wheel (empty: there is a source only)."""

    packages: dict[str, dict[str, set[str]]]
    unbuildable: set[str] = field(default_factory=set)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    failure: UvError | None = None
    built: tuple[str, ...] = ()

    async def solve(
        self, packages: Sequence[str], interpreter: Interpreter, sources: frozenset[str]
    ) -> tuple[str, ...]:
        if self.failure:
            raise self.failure
        chosen = {}
        for line in packages:
            requirement = Requirement(line)
            name = requirement.name
            if name not in self.packages:
                raise UvError(Obstacle.NO_PACKAGE, f"there is no package '{name}'", packages=(name,))
            fitting = [v for v in self.packages[name] if requirement.specifier.contains(v)]
            if not fitting:
                raise UvError(Obstacle.NO_VERSION, "no version", packages=(name,), version=str(requirement.specifier))
            usable = [
                v
                for v in fitting
                if interpreter.short in (has := self.packages[name][v]) or (not has and name in sources)
            ]
            if not usable:
                raise UvError(Obstacle.NO_WHEEL, "no wheel", packages=(name,), version=str(requirement.specifier))
            chosen[name] = max(usable, key=Version)
        for one, other in self.conflicts:
            if {f"{n}=={v}" for n, v in chosen.items()} >= {one, other}:
                names = (one.split("==")[0], other.split("==")[0])
                pinned = [
                    n for n in names if any(Requirement(p).name == n and Requirement(p).specifier for p in packages)
                ]
                if len(pinned) == len(names):
                    raise UvError(Obstacle.CONFLICT, "conflict", packages=names)
                free = next(n for n in names if n not in pinned)
                chosen[free] = min(self.packages[free], key=Version)
        return tuple(f"{name}=={version}" for name, version in chosen.items())

    async def build(self, solution: Sequence[str], interpreter: Interpreter, sources: frozenset[str]) -> None:
        for line in solution:
            if line in self.unbuildable:
                name, _, version = line.partition("==")
                raise UvError(Obstacle.BUILD_FAILED, "build failed", packages=(name,), version=f"=={version}")
        self.built = tuple(solution)

    async def nearest(self, package: Wanted, interpreter: Interpreter) -> str | None:
        above, below = above_and_below(package.specifier)
        have = [v for v, pythons in self.packages[package.name].items() if interpreter.short in pythons]
        newer = [v for v in have if Requirement(f"x{above}").specifier.contains(v)]
        older = [v for v in have if Requirement(f"x{below}").specifier.contains(v)]
        return min(newer, key=Version) if newer else max(older, key=Version) if older else None

    async def has_wheels(self, package: str, interpreter: Interpreter) -> bool:
        requirement = Requirement(package)
        return any(
            pythons for v, pythons in self.packages[requirement.name].items() if requirement.specifier.contains(v)
        )


def asked(*lines: str, python: str = "") -> WantedEnvironment:
    return WantedEnvironment(python=python, packages=tuple(wanted(line) for line in lines))


async def outcome(
    index: Index, environment: WantedEnvironment, *interpreters: Interpreter
) -> tuple[str, tuple[str, ...], list[str]]:
    ordered = choices(environment.python, interpreters or (PY311,), (3, 11))
    built = await build_nearest(environment, ordered, index, lambda _: None)
    assert index.built == built.solution
    return built.interpreter.short, built.solution, [each.text for each in built.differences]


ALL = {"3.10", "3.11", "3.12"}
SKLEARN = {"0.22.1": {"3.8"}, "1.0.2": {"3.8", "3.10"}, "1.1.3": {"3.10", "3.11"}, "1.7.2": ALL}


async def test_exactly_what_was_asked_for() -> None:
    index = Index({"six": {"1.16": ALL, "1.17": ALL}})
    assert await outcome(index, asked("six==1.16", python="==3.11.*")) == ("3.11", ("six==1.16",), [])


async def test_the_nearest_newer_version_that_has_a_build() -> None:
    index = Index({"scikit-learn": SKLEARN, "six": {"1.16": ALL}})
    found = await outcome(index, asked("scikit-learn==0.22.1", "six==1.16"))
    assert found == (
        "3.11",
        ("scikit-learn==1.1.3", "six==1.16"),
        ["scikit-learn 0.22.1 -> 1.1.3: no build of it for Python 3.11"],
    )


async def test_another_interpreter_is_preferred_to_another_version() -> None:
    index = Index({"scikit-learn": SKLEARN})
    assert await outcome(index, asked("scikit-learn==1.0.2", python="==3.11.*"), PY310, PY311, PY312) == (
        "3.10",
        ("scikit-learn==1.0.2",),
        ["python 3.11 -> 3.10: the packages cannot be had for it"],
    )
    # Nobody asked for a Python, so nothing differs.
    assert (await outcome(index, asked("scikit-learn==1.0.2"), PY310, PY311))[2] == []


async def test_an_interpreter_too_old_for_the_scorer() -> None:
    index = Index({"scikit-learn": SKLEARN})
    assert await outcome(index, asked("scikit-learn==0.22.1", python="==3.8.*"), PY38, PY310, PY311) == (
        "3.10",
        ("scikit-learn==1.0.2",),
        [
            "python 3.8 -> 3.10: 3.8 is too old for the scorer",
            "scikit-learn 0.22.1 -> 1.0.2: no build of it for Python 3.10",
        ],
    )


async def test_a_version_that_never_was() -> None:
    index = Index({"six": {"1.16": ALL, "1.17": ALL}})
    assert (await outcome(index, asked("six==9.9")))[2] == ["six 9.9 -> 1.17: there is no such version"]


async def test_packages_that_contradict_each_other() -> None:
    index = Index(
        {"requests": {"2.20": ALL}, "urllib3": {"1.24": ALL, "2.2": ALL}},
        conflicts=[("requests==2.20", "urllib3==2.2")],
    )
    assert await outcome(index, asked("requests==2.20", "urllib3==2.2")) == (
        "3.11",
        ("requests==2.20", "urllib3==1.24"),
        ["urllib3 2.2 -> 1.24: it does not go together with requests"],
    )


async def test_a_package_without_any_wheel_is_built() -> None:
    index = Index({"wget": {"3.2": set()}})
    assert await outcome(index, asked("wget==3.2")) == ("3.11", ("wget==3.2",), [])


async def test_a_build_that_fails_is_as_good_as_none() -> None:
    index = Index({"old": {"1.0": set(), "2.0": ALL}}, unbuildable={"old==1.0"})
    assert (await outcome(index, asked("old==1.0")))[2] == ["old 1.0 -> 2.0: no build of it for Python 3.11"]


async def test_when_the_nearest_does_not_build_either_any_newer_one_will_do() -> None:
    index = Index({"old": {"1.0": {"3.8"}, "2.0": ALL, "3.0": ALL}}, unbuildable={"old==2.0"})
    assert (await outcome(index, asked("old==1.0")))[1] == ("old==3.0",)


@pytest.mark.parametrize("obstacle", [Obstacle.NETWORK, Obstacle.DISK_FULL, Obstacle.REFUSED, Obstacle.OTHER])
async def test_what_no_other_version_helps_against_is_not_tried_again(obstacle: Obstacle) -> None:
    index = Index({"six": {"1.16": ALL}}, failure=UvError(obstacle, "no"))
    with pytest.raises(UvError) as caught:
        await outcome(index, asked("six==1.16"), PY310, PY311)
    assert caught.value is index.failure


async def test_a_package_that_does_not_exist_and_one_that_has_nothing_for_us() -> None:
    with pytest.raises(UvError, match="no package 'nope'"):
        await outcome(Index({}), asked("nope==1"))
    with pytest.raises(UvError, match="no wheel"):
        await outcome(Index({"old": {"1.0": {"3.6"}}}), asked("old"))


def shown(python: str, *interpreters: Interpreter) -> list[tuple[str, str]]:
    found: list[Choice] = choices(python, interpreters, (3, 11))
    return [(each.interpreter.short, each.difference.text if each.difference else "") for each in found]


def test_interpreters_in_the_order_of_trying() -> None:
    assert shown("", PY310, PY311, PY312) == [("3.11", ""), ("3.10", ""), ("3.12", "")]
    assert shown("==3.12.*", PY310, PY311, PY312)[0] == ("3.12", "")
    assert shown("<3.11,>=3.8", PY38, PY310, PY311)[0] == ("3.10", "")
    assert shown("==3.14.*", PY311, PY312)[0] == ("3.12", "python 3.14 -> 3.12: 3.14 is not installed on this machine")
    assert shown("==3.11.5", PY311)[0] == ("3.11", "python 3.11.5 -> 3.11.7: 3.11.5 is not installed on this machine")
    assert shown("==2.7.*", PY310)[0] == ("3.10", "python 2.7 -> 3.10: 2.7 is too old for the scorer")


def test_of_two_patch_releases_the_one_asked_for_or_the_newest() -> None:
    old = Interpreter("/usr/bin/python3.11", Version("3.11.2"))
    assert choices("==3.11.*", [PY311, old], (3, 11))[0].interpreter is PY311
    assert choices("==3.11.2", [PY311, old], (3, 11))[0].interpreter is old


def test_no_interpreter_at_all() -> None:
    with pytest.raises(NoInterpreterError, match=r"needs Python 3.10 or newer, and this machine has 3.8"):
        choices("", [PY38], (3, 11))
