"""Write the blocking client from the asyncio one: ``python -m penstock.blocking.generate``.

Two clients written by hand drift apart; one that wraps the other in an event loop brings threads and strange
tracebacks into users' programs. So the words that make code asynchronous are taken out, the result is committed, and
a test fails when it differs from what this script writes. The transports alone are written by hand, twice.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "aio"
TARGET = Path(__file__).resolve().parent
BY_HAND = {"transport.py"}
_HEADER = "# Generated from {} by penstock/blocking/generate.py. Do not edit.\n"
_WORDS = (
    (re.compile(r"  # noqa: ASYNC\d+[^\n]*"), ""),
    (re.compile(r"\basync (def|for|with)\b"), r"\1"),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\bAsyncIterator\b"), "Iterator"),
    (re.compile(r"\b__a(enter|exit)__\b"), r"__\1__"),
    (re.compile(r"\bpenstock\.aio\b"), "penstock.blocking"),
    (re.compile(r"The client for asyncio\. :mod:`penstock\.blocking` is generated from it"), "The blocking client"),
)


def generate() -> dict[Path, str]:
    """The files of the blocking client with their content."""
    return {
        TARGET / source.name: _format(_HEADER.format(f"penstock/aio/{source.name}") + _blocking(source.read_text()))
        for source in sorted(SOURCE.glob("*.py"))
        if source.name not in BY_HAND
    }


def _blocking(text: str) -> str:
    for pattern, replacement in _WORDS:
        text = pattern.sub(replacement, text)
    return text


def _format(text: str) -> str:
    """Shorter words make other line breaks and another order of imports."""
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET / "x.py"), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text


if __name__ == "__main__":
    for path, content in generate().items():
        path.write_text(content)
