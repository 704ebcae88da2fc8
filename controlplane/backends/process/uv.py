"""Running uv: resolving and installing, with its output in a log and its failures explained."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from controlplane.backends.process.interpreters import Interpreter
from controlplane.backends.process.uv_errors import UvError, explain

_FOREIGN = ("PENSTOCK_", "VIRTUAL_ENV", "PYTHON", "CONDA_")
"""What of our own environment would mislead it, or is none of its business."""
_FROM_PIP = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}


class Uv:
    """The ``uv`` program, with an environment of its own.

    Its cache is the user's, so what any project has downloaded before is linked and not fetched.
    """

    def __init__(self, program: str, environ: Mapping[str, str]) -> None:
        self._program = program
        env = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
        for pip_name, uv_name in _FROM_PIP.items():
            if pip_name in env:
                env.setdefault(uv_name, env[pip_name])
        self._env = {
            **env,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
            # Its advice on `UV_HTTP_TIMEOUT` and the like does not reach whoever reads our messages.
            "UV_HTTP_TIMEOUT": env.get("UV_HTTP_TIMEOUT", "60"),
        }

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Uv:
        """The uv that was installed with us, else the one on the PATH.

        Raises:
            FileNotFoundError: there is none.
        """
        try:
            from uv import find_uv_bin  # noqa: PLC0415  # a wheel that is mostly a program

            return cls(find_uv_bin(), environ)
        except (ImportError, FileNotFoundError):
            program = shutil.which("uv", path=environ.get("PATH"))
            if program is None:
                raise FileNotFoundError("uv, which builds environments, is not installed") from None
            return cls(program, environ)

    async def compile(
        self,
        requirements: Sequence[str],
        interpreter: Interpreter,
        *,
        sources: frozenset[str] = frozenset(),
        overrides: Sequence[str] = (),
        constraints: Sequence[str] = (),
        more: Sequence[str] = (),
        log: Path | None = None,
        held: int | None = None,
    ) -> list[str]:
        """Resolve to exact versions, wheels only but for the packages in ``sources``; one line each.

        ``overrides`` are what holds of a package whoever asks for another version of it, ``constraints`` what holds
        of one if it is needed.

        Raises:
            UvError: with the reason.
        """
        files: list[int] = []
        arguments = ["pip", "compile", "--quiet", "--no-header", "--no-annotate", "-p", interpreter.path]
        arguments += ["--only-binary", ":all:"]
        for name in sorted(sources):
            arguments += ["--no-binary", name]
        for flag, lines in (("--overrides", overrides), ("--constraints", constraints)):
            if lines:
                # uv takes them from a file only; one in memory needs no place and no clean-up.
                files.append(os.memfd_create("uv"))
                os.write(files[-1], "\n".join(lines).encode())
                arguments += [flag, f"/dev/fd/{files[-1]}"]
        try:
            output = await self.run(
                [*arguments, *more, "-"],
                stdin="\n".join(requirements),
                log=log,
                held=(*files, *(() if held is None else (held,))),
            )
        finally:
            for file in files:
                os.close(file)
        return [line for line in output.splitlines() if line and not line.startswith(("#", "-"))]

    async def run(
        self, arguments: Sequence[str], *, stdin: str = "", log: Path | None = None, held: Sequence[int] = ()
    ) -> str:
        """Run uv and return its standard output. Cancelling ends it and what it started.

        ``held`` descriptors are inherited: a lock among them is held until uv ends, whatever becomes of us.

        Raises:
            UvError: it failed.
        """
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
            cwd="/",  # no project's settings apply
            start_new_session=True,
            pass_fds=held,
        )
        try:
            output, errors = await process.communicate(stdin.encode())
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        told = errors.decode(errors="replace")
        if log is not None:
            await asyncio.to_thread(_append, log, f"$ uv {' '.join(arguments)}\n{told}")
        if process.returncode != 0:
            raise explain(told) if told else UvError.silent(process.returncode)
        return output.decode(errors="replace")


def _append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text if text.endswith("\n") else text + "\n")
