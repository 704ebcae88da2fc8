"""The Python interpreters of this machine. None is ever downloaded.

uv's own search stops at what is on the PATH; people keep interpreters with pyenv and uv, too, whose shims on the PATH
answer for one version only.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from controlplane.backends.environments.wanted import Difference

OLDEST = (3, 10)
"""The scorer runs on 3.10 and newer."""
_QUERY = (
    "import sys; print(sys.implementation.name, '.'.join(map(str, sys.version_info[:3])), sys.version_info[3], "
    "getattr(sys, '_base_executable', sys.executable))"
)
_ANSWER_SECONDS = 20.0


class NoInterpreterError(Exception):
    """The machine has no Python that the scorer runs on."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython that can be built on."""

    path: str
    version: Version

    @property
    def minor(self) -> tuple[int, int]:
        """Such as (3, 11)."""
        return self.version.major, self.version.minor

    @property
    def short(self) -> str:
        """Such as 3.11."""
        return f"{self.version.major}.{self.version.minor}"


@dataclass(frozen=True, slots=True)
class Choice:
    """An interpreter, and how it differs from the one that was asked for."""

    interpreter: Interpreter
    difference: Difference | None = None


def choices(asked: str, installed: Sequence[Interpreter], own: tuple[int, int]) -> list[Choice]:
    """Which interpreters to try for the specifier ``asked``, the best first.

    Those that satisfy it come first (the newest, or ``own`` where any will do), then the others by their distance.

    Raises:
        NoInterpreterError: there is none.
    """
    usable = [each for each in installed if each.minor >= OLDEST]
    if not usable:
        have = ", ".join(sorted({each.short for each in installed})) or "none"
        raise NoInterpreterError(f"the scorer needs Python {_dotted(OLDEST)} or newer, and this machine has {have}")
    newest: dict[tuple[int, int], Interpreter] = {}
    for each in sorted(usable, key=lambda each: each.version):
        if each.minor not in newest or not _satisfies(asked, newest[each.minor]) or _satisfies(asked, each):
            newest[each.minor] = each
    target = _target(asked, own)
    ordered = sorted(
        newest.values(),
        key=lambda each: (not _satisfies(asked, each), abs(each.minor[1] - target[1]), each.minor),
    )
    return [Choice(each, _difference(asked, each, installed)) for each in ordered]


async def installed(environ: Mapping[str, str]) -> list[Interpreter]:
    """Ask every interpreter that can be found what it is. Takes about 50 ms a handful."""
    answers = await asyncio.gather(*(_ask(path) for path in _candidates(environ)))
    # Several names lead to one interpreter; what it calls itself tells.
    found = {os.path.realpath(each.path): each for each in answers if each is not None}  # noqa: ASYNC240  # quick
    return sorted(found.values(), key=lambda each: (each.version, each.path))


def _target(asked: str, own: tuple[int, int]) -> tuple[int, int]:
    """The version to be near to: the one that is named, the newest one a range allows, or our own."""
    if not asked:
        return own
    specifiers = SpecifierSet(asked)
    for specifier in specifiers:
        if specifier.operator in ("==", "===", "~="):
            version = Version(specifier.version.removesuffix(".*"))
            return version.major, version.minor
    allowed = [minor for minor in range(40) if specifiers.contains(f"3.{minor}.99")]
    if own[1] in allowed or not allowed:
        return own
    return 3, min(allowed, key=lambda minor: abs(minor - own[1]))


def _satisfies(asked: str, each: Interpreter) -> bool:
    return SpecifierSet(asked).contains(each.version)


def _difference(asked: str, got: Interpreter, installed: Sequence[Interpreter]) -> Difference | None:
    if _satisfies(asked, got):
        return None
    said, shown, target = asked.removeprefix("==").removesuffix(".*"), got.short, _target(asked, (3, 99))
    if target < OLDEST:
        why = f"{said} is too old for the scorer"
    elif any(_satisfies(asked, each) for each in installed):
        why = "the packages cannot be had for it"
    else:
        why = f"{said} is not installed on this machine"
        if target == got.minor:
            shown = str(got.version)
    return Difference(f"python {said} -> {shown}: {why}")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _candidates(environ: Mapping[str, str]) -> Iterable[Path]:
    home = Path(environ.get("HOME") or "/nonexistent")
    places = [
        *(Path(place) for place in environ.get("PATH", "").split(os.pathsep) if place),
        *Path(environ.get("PYENV_ROOT") or home / ".pyenv").glob("versions/*/bin"),
        *Path(environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python").glob("*/bin"),
    ]
    found: dict[Path, None] = {Path(getattr(sys, "_base_executable", sys.executable)).resolve(): None}
    for place in places:
        for pattern in ("python3", "python3.[0-9]*"):
            for path in place.glob(pattern):
                if path.name.rpartition(".")[2].isdigit() or path.name == "python3":
                    found.setdefault(path.resolve() if path.parent.name != "shims" else path, None)
    return found


async def _ask(path: Path) -> Interpreter | None:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "-I",
            "-S",
            "-c",
            _QUERY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    words = output.decode(errors="replace").split(maxsplit=3)
    if process.returncode != 0 or len(words) != 4 or words[0] != "cpython":  # noqa: PLR2004  # the query's words
        return None
    return Interpreter(path=words[3].strip(), version=Version(words[1]))
