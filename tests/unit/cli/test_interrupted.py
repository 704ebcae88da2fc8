"""Ctrl-C at any moment: one line, no traceback, nothing garbled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from penstock.cli import changes


def python(code: str) -> subprocess.CompletedProcess[str]:
    # Importing the start changes what a signal does, which is no business of this process.
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_before_anything_is_imported_it_just_ends() -> None:
    done = python("import os, signal, penstock.cli.start; os.kill(os.getpid(), signal.SIGINT)")
    assert (done.returncode, done.stderr) == (-2, "")


def test_between_start_and_command() -> None:
    done = python(
        "import os, signal, sys, penstock.cli.main as module, penstock.cli.start as start\n"
        "module.main = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(start.main())"
    )
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_the_line_that_changes_ends_before_anything_else_is_said() -> None:
    said: list[str] = []

    @contextmanager
    def working(what: str) -> Iterator[object]:
        try:
            yield said.append
        finally:
            said.append("the line has ended")

    def wait(progress: object) -> None:
        raise KeyboardInterrupt

    context = SimpleNamespace(console=SimpleNamespace(working=working, note=said.append))
    with pytest.raises(KeyboardInterrupt):
        # An operation that can only be waited for.
        changes.finish(context, "creating 'x'", SimpleNamespace(wait=wait, name="operations/1"))  # type: ignore[arg-type]
    assert said == ["the line has ended", "creating 'x' goes on (operations/1)"]
