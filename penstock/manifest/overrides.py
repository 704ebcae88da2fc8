"""``--set a.b[0].c=value``: values given on the command line, laid over a file before it is read.

They become nodes of the same tree, so they are checked like everything else; their position is the argument itself.
What has a flag of its own, such as ``--name``, is a :class:`Flag`: a mistake in it is told by what was typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace

from penstock.errors import ManifestError, Position, Problem
from penstock.manifest import tree
from penstock.manifest.tree import Entry, Mapping, Node

_TEXTS = ("properties", "tags", "environment_variables")
"""Mappings of texts: whatever follows is one key, dots and all, such as ``properties.penstock.retry``."""
_STEP = re.compile(r"\.?([^.\[\]=]+)|\[(\d+)\]")


class Flag(str):
    """A ``PATH=VALUE`` that was given by a flag of its own."""

    __slots__ = ("typed",)
    typed: str

    @classmethod
    def of(cls, flag: str, path: str, value: str | int | bool) -> Flag:
        """``flag`` (such as ``--name``) gave ``value`` to ``path``."""
        made = cls(f"{path}={json.dumps(value)}")
        made.typed = flag if value is True else f"{flag} {value}"
        return made


def lay_over(root: Mapping, arguments: Iterable[str]) -> Mapping:
    """``root`` with each ``PATH=VALUE`` put in; values are YAML, so ``3``, ``true`` and ``{a: b}`` are what they say.

    Raises:
        ManifestError: an argument has another form, or its path does not fit the file.
    """
    for argument in arguments:
        position = Position(argument.typed if isinstance(argument, Flag) else f"--set {argument}")
        path, found, text = argument.partition("=")
        steps = _steps(path)
        if not found or not steps:
            raise ManifestError([Problem(position, "write it as PATH=VALUE, such as instance_count=2")])
        value = tree.parse(text, str(position)) or tree.Scalar(position, "", "str")
        if isinstance(value, tree.Scalar):
            value = replace(value, position=position)  # there is one line, and nothing to look for in it
        put = _put(root, steps, value, position)
        if not isinstance(put, Mapping):
            raise ManifestError([Problem(position, "the path must start with a key")])
        root = put
    return root


def _steps(path: str) -> list[str | int]:
    head, found, key = path.partition(".")
    if head in _TEXTS and found and key:
        return [head, key]
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return []
        key, index = step.groups()
        steps.append(key if key is not None else int(index))
        at = step.end()
    return steps


def _put(node: Node | None, steps: list[str | int], value: Node, position: Position) -> Node:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(node, tree.Sequence) or step >= len(node.items):
            raise ManifestError([Problem(position, f"there is no item [{step}]")])
        items = [*node.items]
        items[step] = _put(items[step], rest, value, position)
        return tree.Sequence(node.position, tuple(items))
    if node is None or (isinstance(node, tree.Scalar) and node.kind == "null"):
        node = Mapping(position, ())
    if not isinstance(node, Mapping):
        raise ManifestError([Problem(position, f"`{step}` cannot be set: what it would stand in is no mapping")])
    new = Entry(position, step, _put(node.get(step), rest, value, position))
    if all(entry.key != step for entry in node.entries):
        return Mapping(node.position, (*node.entries, new))
    return Mapping(node.position, tuple(new if entry.key == step else entry for entry in node.entries))
