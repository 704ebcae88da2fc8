"""What :mod:`controlplane.backends.process.fallback` needs of uv, in the folder of one environment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from controlplane.backends.environments.wanted import Wanted
from controlplane.backends.process.fallback import above_and_below
from controlplane.backends.process.interpreters import Interpreter
from controlplane.backends.process.uv import Uv
from controlplane.backends.process.uv_errors import TRANSIENT, UvError

_OTHER_PYTHONS = ("3.6", "3.8", "3.9", "3.12", "3.7", "3.10", "3.11", "3.13", "3.14")


@dataclass(frozen=True, slots=True)
class UvSolver:
    """:class:`controlplane.backends.process.fallback.Solver` with uv."""

    uv: Uv
    folder: Path
    options: tuple[str, ...]
    scorer: str
    needs: tuple[str, ...]
    """The scorer's own, extras and all."""
    held: int

    async def solve(
        self, packages: Sequence[str], interpreter: Interpreter, sources: frozenset[str]
    ) -> tuple[str, ...]:
        """As :class:`controlplane.backends.process.fallback.Solver` says, and so the others."""
        return tuple(
            await self.uv.compile(
                [*self.options, *packages, self.scorer],
                interpreter,
                sources=sources,
                overrides=_overrides(packages, self.needs),
                log=self.folder / "build.log",
                held=self.held,
            )
        )

    async def build(self, solution: Sequence[str], interpreter: Interpreter, sources: frozenset[str]) -> None:
        """Make the environment."""
        venv, log = str(self.folder / "venv"), self.folder / "build.log"
        await self.uv.run(
            ["venv", "--quiet", "--clear", "--python", interpreter.path, venv], log=log, held=(self.held,)
        )
        await self.install(solution, sources)

    async def install(self, solution: Sequence[str], sources: frozenset[str] = frozenset()) -> None:
        """Put exactly these into the environment, beside what is there."""
        python = str(self.folder / "venv/bin/python")
        arguments = ["pip", "install", "--no-deps", "--python", python, "--only-binary", ":all:"]
        for name in sorted(sources):
            arguments += ["--no-binary", name]
        lines = "\n".join([*self.options, *solution])
        await self.uv.run([*arguments, "-r", "-"], stdin=lines, log=self.folder / "build.log", held=(self.held,))

    async def within(self, interpreter: Interpreter, needs: Sequence[str], pins: Sequence[str]) -> list[str]:
        """Exact versions of ``needs`` and what they need, none other than ``pins`` says."""
        log = self.folder / "build.log"
        return await self.uv.compile([*self.options, *needs], interpreter, constraints=pins, log=log, held=self.held)

    async def nearest(self, package: Wanted, interpreter: Interpreter) -> str | None:
        """The lowest version above what was asked for, else the highest below."""
        above, below = above_and_below(package.specifier)
        for specifier, resolution in ((above, "lowest-direct"), (below, "highest")):
            more = ["--no-deps", "--resolution", resolution]
            try:
                line, *_ = await self.uv.compile(
                    [*self.options, package.pinned(specifier).line], interpreter, more=more, held=self.held
                )
            except UvError as error:
                if error.obstacle in TRANSIENT:
                    raise
            else:
                return line.partition("==")[2].split(";")[0].strip()
        return None

    async def has_wheels(self, package: str, interpreter: Interpreter) -> bool:
        """Whether there are some for any Python."""
        for version in _OTHER_PYTHONS:
            if version != interpreter.short:
                more = ["--no-deps", "--python-version", version]
                with contextlib.suppress(UvError):
                    await self.uv.compile([*self.options, package], interpreter, more=more, held=self.held)
                    return True
        return False


def _overrides(packages: Sequence[str], needs: Sequence[str]) -> tuple[str, ...]:
    """Where the user and the scorer both name a package, the user's word holds: as far as it does by now."""
    names = {canonicalize_name(Requirement(need).name) for need in needs}
    pinned = (each for each in packages if not each.startswith(("git+", "https://", "http://")))
    asked = [(each, Requirement(each)) for each in pinned]
    return tuple(line for line, each in asked if canonicalize_name(each.name) in names and each.specifier)
