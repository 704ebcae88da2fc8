"""Virtual environments, built once for each content and shared by every instance that asks for it.

An environment is built where it will stay (scripts in it hold absolute paths), under a lock that the running uv
inherits; ``environment.json`` is written last and means complete. Killed at any line, the next one to ask finds an
incomplete folder, ends a uv that may still be at work in it, and builds anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane.backends.environments.wanted import Difference, WantedEnvironment
from controlplane.backends.process import files, grpc_packages, interpreters, scorer_wheel
from controlplane.backends.process.failures import disk_error, end_of
from controlplane.backends.process.fallback import build_nearest
from controlplane.backends.process.interpreters import Interpreter, NoInterpreterError
from controlplane.backends.process.scorer_wheel import ScorerSource
from controlplane.backends.process.uv import Uv
from controlplane.backends.process.uv_errors import TRANSIENT, Obstacle, UvError
from controlplane.backends.process.uv_solver import UvSolver
from controlplane.domain.ports import PreparationError
from penstock.daemon import lock, processes

_FORMAT = 2
"""Raised when environments have to be built anew."""
_LOCK_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is complete."""

    folder: Path
    differences: tuple[Difference, ...] = ()
    grpc: bool = False
    """The scorer answers gRPC in it."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "venv/bin/python"

    @property
    def log(self) -> Path:
        """What building it printed."""
        return self.folder / "build.log"


class EnvironmentCache:
    """Environments below ``folder``, by content."""

    def __init__(self, folder: Path, scorer: ScorerSource, uv: Uv, environ: Mapping[str, str]) -> None:
        self._folder, self._scorer, self._uv, self._environ = folder, scorer, uv, environ
        self._building: dict[str, asyncio.Lock] = {}
        self._packing = asyncio.Lock()
        self._wheel: tuple[Path, str] | None = None

    def find(self, key: str) -> Environment | None:
        """The environment with this key, if it is complete."""
        folder = self._folder / key
        try:
            known = json.loads((folder / "environment.json").read_bytes())
            return Environment(folder, tuple(Difference(**each) for each in known["differences"]), known["grpc"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def log_of(self, key: str) -> Path:
        """Where the log of building it is, or will be."""
        return self._folder / key / "build.log"

    async def key(self, wanted: WantedEnvironment, extras: Sequence[str]) -> str:
        """16 hex digits for this content, with this scorer."""
        _, scorer = await self._wheel_now()
        content = json.dumps([_FORMAT, scorer, sorted(extras), asdict(wanted)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    async def ensure(
        self, key: str, wanted: WantedEnvironment, extras: Sequence[str], progress: Callable[[str], None]
    ) -> Environment:
        """The environment, built if it is not there. Those who ask for the same one meanwhile wait.

        Raises:
            PreparationError: it cannot be built.
        """
        lock_here = self._building.setdefault(key, asyncio.Lock())
        if lock_here.locked():
            progress("waiting for the same environment, which another deployment is building")
        async with lock_here:
            if (ready := self.find(key)) is not None:
                return ready
            try:
                with await self._exclusively(key) as held:
                    return self.find(key) or await self._build(key, wanted, extras, progress, held)
            except OSError as error:
                raise disk_error(error, "building the environment") from error

    async def _exclusively(self, key: str) -> contextlib.AbstractContextManager[int]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{key}.lock"
        # Not in a thread: it does not block, and a descriptor must not be lost to a cancellation.
        while (held := lock.acquire(path)) is None:
            # Only a uv whose control plane was killed can hold it.
            await asyncio.to_thread(_kill_holders, path)
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        return _closing(held)

    async def _build(
        self, key: str, wanted: WantedEnvironment, extras: Sequence[str], progress: Callable[[str], None], held: int
    ) -> Environment:
        def tell(line: str) -> None:
            progress(f"building the environment: {line}")

        folder = self._folder / key
        await asyncio.to_thread(_start_afresh, folder)
        wheel, _ = await self._wheel_now()
        extra = f"[{','.join(extras)}]" if extras else ""
        solver = UvSolver(
            uv=self._uv,
            folder=folder,
            options=wanted.options,
            scorer=f"{self._scorer.name}{extra} @ file://{wheel}",
            needs=self._scorer.requirements,
            held=held,
        )
        try:
            choices = interpreters.choices(
                wanted.python, await interpreters.installed(self._environ), sys.version_info[:2]
            )
            built = await build_nearest(wanted, choices, solver, tell)
            await self._check(folder, "-m", self._scorer.name, "--version")
            needs = self._scorer.needs_of(grpc_packages.EXTRA)
            probe = functools.partial(self._check, folder, "-c", grpc_packages.PROBE)
            grpc = await grpc_packages.add(needs, built.solution, solver, built.interpreter, probe)
        except NoInterpreterError as error:
            raise PreparationError("NoPython", str(error)) from error
        except UvError as error:
            raise _failure(error) from error
        differences = (*wanted.differences, *built.differences, *grpc.differences)
        solution = (*built.solution, *grpc.packages)
        await asyncio.to_thread(_complete, folder, built.interpreter, solution, differences, grpc=grpc.works)
        return Environment(folder, differences, grpc.works)

    async def _check(self, folder: Path, *arguments: str) -> None:
        """The user's pins win over the scorer's needs; better to learn here than at each start if it can't live so."""
        process = await asyncio.create_subprocess_exec(
            folder / "venv/bin/python",
            "-I",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath},
        )
        _, errors = await process.communicate()
        if process.returncode != 0:
            told = errors.decode(errors="replace")
            last = told.strip().splitlines()[-1] if told.strip() else f"exit code {process.returncode}"
            raise PreparationError(
                "EnvironmentBuildFailed", f"the scorer does not run beside these packages: {last}", detail=end_of(told)
            )

    async def _wheel_now(self) -> tuple[Path, str]:
        async with self._packing:
            if self._wheel is None:
                folder = self._folder.with_name("scorer")
                self._wheel = await asyncio.to_thread(scorer_wheel.wheel_of, self._scorer, folder)
            return self._wheel


def _failure(error: UvError) -> PreparationError:
    transient = error.obstacle in TRANSIENT
    reason = "DiskFull" if error.obstacle is Obstacle.DISK_FULL else "EnvironmentBuildFailed"
    return PreparationError(
        reason, f"the environment cannot be built: {error}", detail=end_of(error.output), transient=transient
    )


def _start_afresh(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


def _complete(
    folder: Path, interpreter: Interpreter, solution: Sequence[str], differences: Sequence[Difference], *, grpc: bool
) -> None:
    (folder / "requirements.lock").write_text("\n".join(solution) + "\n")
    known = {
        "python": str(interpreter.version),
        "differences": [asdict(each) for each in differences],
        "grpc": grpc,
    }
    files.replace(folder / "environment.json", json.dumps(known, indent=2))


def _kill_holders(path: Path) -> None:
    for process in processes.everyone():
        if process.pid != os.getpid() and processes.holds_open(process.pid, path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
