"""Reading one mapping of a manifest, key by key.

Whoever reads asks for each key it knows, with its type and range; :meth:`Fields.close` then reports every key nobody
asked for, with the nearest one that was. So the list of valid keys is the code that reads them, and can't go stale.
Mistakes are collected, not raised: a user wants all of them at once.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from penstock.errors import ManifestError, Position, Problem
from penstock.manifest import tree
from penstock.manifest.tree import Mapping, Node, Scalar


@dataclass
class Report:
    """What reading brings up beside the values: mistakes, and keys without effect."""

    problems: list[Problem] = field(default_factory=list)
    kept: dict[str, Position] = field(default_factory=dict)
    """Keys with no meaning on one's own machines that are kept, by path, where they were first seen."""
    dropped: dict[str, Position] = field(default_factory=dict)
    """Likewise, and not kept."""

    def problem(self, position: Position, message: str) -> None:
        """Add a mistake."""
        self.problems.append(Problem(position, message))

    def adopt(self, error: ManifestError) -> None:
        """Take over the mistakes of a file that was read in passing."""
        self.problems += error.problems


class Fields:
    """A mapping that is being read. ``path`` is where it stands in the file, such as ``model`` (empty at the root)."""

    def __init__(self, node: Mapping, report: Report, path: str = "") -> None:
        self.node = node
        self.report = report
        self.path = path
        self._asked: set[str] = set()
        self._missing: dict[str, Problem] = {}
        self._keys = {entry.key: entry.position for entry in node.entries}

    @classmethod
    def of(cls, node: Node | None, report: Report, path: str) -> Fields | None:
        """``node`` to be read as a mapping; None when it is absent, or is something else (which is reported)."""
        if node is None:
            return None
        if isinstance(node, Mapping):
            return cls(node, report, path)
        report.problem(node.position, f"`{path}` must be a mapping, and this is {kind(node)}")
        return None

    def __contains__(self, key: str) -> bool:
        return self.node.get(key) is not None

    def at(self, key: str) -> Position:
        """Where ``key`` stands, or the whole mapping when it is absent."""
        return self._keys.get(key, self.node.position)

    def value(self, key: str) -> Node | None:
        """The node of ``key``, for values of more than one shape; None when absent or null."""
        self._asked.add(key)
        return self.node.get(key)

    def child(self, key: str) -> Fields | None:
        """The mapping under ``key``."""
        return Fields.of(self.value(key), self.report, self._full(key))

    def text(self, key: str, *, required: bool = False) -> str:
        """The text under ``key``; numbers and the like count as they are written. Empty when absent."""
        node = self.value(key)
        if node is None:
            if required:
                missing = Problem(self.at(key), f"`{self._full(key)}` is required")
                self._missing[key] = missing
                self.report.problems.append(missing)
            return ""
        if not isinstance(node, Scalar):
            self._mistyped(key, node, "text")
            return ""
        if required and not node.text:
            self.report.problem(node.position, f"`{self._full(key)}` must not be empty")
        return node.text

    def choice(self, key: str, allowed: Sequence[str], refused: dict[str, str] | None = None) -> str:
        """One of ``allowed``, in any case; ``refused`` maps known words that cannot be honoured to the reason."""
        node = self.value(key)
        word = self.text(key)
        if node is None or not word:
            return ""
        folded = word.lower()
        if folded in allowed:
            return folded
        if refused and folded in refused:
            self.report.problem(node.position, f"`{self._full(key)}: {word}` cannot be honoured: {refused[folded]}")
            return ""
        near = meant(folded, allowed)
        have = ", ".join(allowed)
        self.report.problem(node.position, f"`{self._full(key)}` cannot be '{word}'{near}; it is one of: {have}")
        return ""

    def integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``, quoted or not. None when absent or wrong."""
        number = self._number(key, low, high, "a whole number")
        if number is None:
            return None
        if number != int(number):
            self._mistyped(key, self.node.get(key), "a whole number")
            return None
        return int(number)

    def number(self, key: str, low: float, high: float) -> float | None:
        """A number from ``low`` to ``high``, quoted or not. None when absent or wrong."""
        return self._number(key, low, high, "a number")

    def flag(self, key: str) -> bool | None:
        """True or false, quoted or not, in any case. None when absent or wrong."""
        node = self.value(key)
        if node is None:
            return None
        if isinstance(node, Scalar) and node.text.lower() in ("true", "false"):
            return node.text.lower() == "true"
        self._mistyped(key, node, "true or false")
        return None

    def texts(self, key: str) -> dict[str, str]:
        """A mapping of texts, such as tags; numbers and the like count as they are written."""
        fields = self.child(key)
        if fields is None:
            return {}
        return {entry.key: fields.text(entry.key) for entry in fields.node.entries}

    def integers(self, key: str, low: int, high: int) -> dict[str, int]:
        """A mapping of whole numbers, such as traffic."""
        fields = self.child(key)
        if fields is None:
            return {}
        numbers = {entry.key: fields.integer(entry.key, low, high) for entry in fields.node.entries}
        return {name: number for name, number in numbers.items() if number is not None}

    def retain(self, *keys: str) -> dict[str, str]:
        """The named keys as JSON, to be shown again; they are reported as kept without effect."""
        found: dict[str, str] = {}
        for key in keys:
            node = self.value(key)
            if node is not None:
                found[key] = json.dumps(tree.plain(node), sort_keys=True)
                self.report.kept.setdefault(self._full(key), self.at(key))
        return found

    def drop(self, *keys: str) -> None:
        """Accept the named keys; they are reported as without effect."""
        for key in keys:
            if self.value(key) is not None:
                self.report.dropped.setdefault(self._full(key), self.at(key))

    def tolerate(self, *keys: str) -> None:
        """Accept the named keys without effect: what ``show`` prints and users write back."""
        self._asked.update(keys)

    def refuse(self, key: str, reason: str) -> None:
        """Report ``key`` as something that cannot be honoured, if it is there."""
        if self.value(key) is not None:
            self.report.problem(self.at(key), f"`{self._full(key)}` cannot be honoured: {reason}")

    def close(self) -> None:
        """Report every key that nobody asked for."""
        for entry in self.node.entries:
            if entry.key not in self._asked:
                near = nearest(entry.key, self._asked)
                place = f" in `{self.path}`" if self.path else ""
                self.report.problem(entry.position, f"unknown key `{entry.key}`{place}{_meant(near)}")
                # Misspelt, not missing: one mistake is told once.
                if near in self._missing:
                    self.report.problems.remove(self._missing.pop(near))

    def _number(self, key: str, low: float, high: float, what: str) -> float | None:
        node = self.value(key)
        if node is None:
            return None
        try:
            number = float(node.text) if isinstance(node, Scalar) and node.kind != "bool" else None
        except ValueError:
            number = None
        if number is None or number != number:  # noqa: PLR0124 - NaN is no number
            self._mistyped(key, node, what)
            return None
        if not low <= number <= high:
            said = f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} or more"
            self.report.problem(node.position, f"`{self._full(key)}` must be {said}, and is {_said(node)}")
            return None
        return number

    def _mistyped(self, key: str, node: Node | None, wanted: str) -> None:
        if node is not None:
            self.report.problem(node.position, f"`{self._full(key)}` must be {wanted}, and this is {kind(node)}")

    def _full(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def kind(node: Node) -> str:
    """What a node is, for a person: ``a list``, ``a mapping`` or ``'its text'``."""
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, tree.Sequence) else _said(node)


def meant(word: str, known: Iterable[str]) -> str:
    """`` (did you mean `x`?)`` with the nearest known word, or nothing."""
    return _meant(nearest(word, known))


def nearest(word: str, known: Iterable[str]) -> str:
    """The nearest known word; empty when none is near."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)), "")


def _meant(near: str) -> str:
    return f" (did you mean `{near}`?)" if near else ""


def _said(node: Node) -> str:
    text = node.text if isinstance(node, Scalar) else ""
    return f"'{text[:60]}'" + ("..." if len(text) > 60 else "")  # noqa: PLR2004 - enough to recognise it
