"""Which files of a folder stay behind when it is sent: ``.amlignore``, or else ``.gitignore``, in git's patterns.

The hosted service reads the same two files at the root of an uploaded folder, the first winning over the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ALWAYS = ("__pycache__/", ".git/", ".amlignore")
"""Never sent: of no use to a script, and the caches would change the hash of the same code."""
FILES = (".amlignore", ".gitignore")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    keeps: bool
    folders_only: bool


class Ignore:
    """The rules of one folder."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules = [rule for line in (*lines, *ALWAYS) if (rule := _rule(line))]

    def matches(self, path: str, *, folder: bool) -> bool:
        """Whether ``path`` (relative, with slashes) stays behind. The last rule that matches decides."""
        for rule in reversed(self._rules):
            if (folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return not rule.keeps
        return False


def _rule(line: str) -> _Rule | None:
    line = line.rstrip("\r\n")
    if not line.endswith("\\ "):
        line = line.rstrip()
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    line = line[keeps:].removeprefix("\\")
    folders_only = line.endswith("/")
    line = line.rstrip("/")
    anchored = "/" in line
    line = line.removeprefix("/")
    if not line:
        return None
    try:
        pattern = re.compile(("" if anchored else "(?:.*/)?") + _regex(line), re.DOTALL)
    except re.error:
        return None  # git, too, takes a broken pattern as one that matches nothing
    return _Rule(pattern, keeps, folders_only)


def _regex(glob: str) -> str:
    out, i = "", 0
    while i < len(glob):
        rest = glob[i:]
        if rest.startswith("**/") and (i == 0 or glob[i - 1] == "/"):
            out, i = out + "(?:.*/)?", i + 3
        elif rest == "**" and i > 0 and glob[i - 1] == "/":
            out, i = out + ".*", i + 2
        elif rest[0] == "*":
            out, i = out + "[^/]*", i + 1
        elif rest[0] == "?":
            out, i = out + "[^/]", i + 1
        elif rest[0] == "[" and (end := glob.find("]", i + 2)) > 0:
            inside = glob[i + 1 : end].replace("\\", "\\\\")
            inside = "^" + inside[1:] if inside.startswith("!") else inside
            out, i = out + f"[{inside}]", end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            out, i = out + re.escape(rest[1]), i + 2
        else:
            out, i = out + re.escape(rest[0]), i + 1
    return out
