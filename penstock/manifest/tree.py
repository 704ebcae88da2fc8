"""YAML as a tree whose every node knows its line and column.

The usual constructors throw positions away, and a mistake without a line is what users of such files complain of
most. So the text is composed into nodes and no further; what a scalar means is decided by whoever asks for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from penstock.errors import ManifestError, Position, Problem

_TAG = "tag:yaml.org,2002:"
MAX_CHARACTERS = 1 << 20
"""Larger files are refused: no endpoint is described in a megabyte, and a parser in Python would take minutes."""
_MAX_NODES = 100_000
"""Nodes after aliases are expanded, so that a few lines of nested aliases cannot fill the memory."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts. ``kind`` is YAML's core type: str, int, float, bool or null."""

    position: Position
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    position: Position
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value."""

    position: Position
    key: str
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with values, in the order of the file. No key is there twice."""

    position: Position
    entries: tuple[Entry, ...]

    def get(self, key: str) -> Node | None:
        """The value of ``key``; None when it is absent or null."""
        value = next((e.value for e in self.entries if e.key == key), None)
        return None if isinstance(value, Scalar) and value.kind == "null" else value


Node = Scalar | Sequence | Mapping


def parse(text: str, file: str) -> Node | None:
    """The document in ``text``, or None when it is empty. ``file`` is how positions name it.

    Raises:
        ManifestError: it is not one YAML document of the core schema, or a key is there twice.
    """
    if len(text) > MAX_CHARACTERS:
        raise ManifestError([Problem(Position(file), f"the file is larger than {MAX_CHARACTERS >> 20} MiB")])
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        builder = _Builder(file)
        tree = builder.node(root) if root is not None else None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file)
        raise ManifestError([Problem(where, f"this is not YAML: {error.problem or error.context}")]) from None
    except YAMLError as error:
        position = getattr(error, "position", None)
        raise ManifestError([Problem(_at(text, position, file), _unreadable(error))]) from None
    except RecursionError:
        raise ManifestError([Problem(Position(file), "the file is nested too deeply")]) from None
    except (ValueError, OverflowError, AttributeError, TypeError, IndexError, KeyError, AssertionError) as error:
        # The parser's own slips on odd input (it chokes on some directives and escapes) are the file's fault too.
        raise ManifestError([Problem(Position(file), f"this is not YAML: {error}")]) from None
    if builder.problems:
        raise ManifestError(builder.problems)
    return tree


def plain(node: Node) -> Any:
    """The node as dicts, lists and scalars, for JSON."""
    if isinstance(node, Mapping):
        return {e.key: plain(e.value) for e in node.entries}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return _constant(node)


def _constant(scalar: Scalar) -> Any:
    match scalar.kind:
        case "null":
            return None
        case "bool":
            return scalar.text.lower() == "true"
        case "int" | "float":
            try:
                return int(scalar.text, 10) if scalar.kind == "int" else _finite(scalar.text)
            except ValueError:
                return scalar.text
        case _:
            return scalar.text


def _finite(text: str) -> float | str:
    number = float(text)
    # JSON has no infinities.
    return number if json.dumps(number).lstrip("-")[0].isdigit() else text


class _Builder:
    """Turns the parser's nodes into ours."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._open: set[int] = set()
        self._count = 0

    def node(self, node: Any) -> Node:
        position = Position(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if self._count > _MAX_NODES:
            self._fail(position, f"the file holds more than {_MAX_NODES} values once its aliases are followed")
        if id(node) in self._open:
            self._fail(position, "an alias contains itself")
        if isinstance(node, ScalarNode):
            return Scalar(position, node.value, self._kind(node, position))
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return Sequence(position, tuple(self.node(item) for item in node.value))
            return Mapping(position, self._entries(node))
        finally:
            self._open.discard(id(node))

    def _entries(self, node: MappingNode) -> tuple[Entry, ...]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            at = Position(self._file, key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, ScalarNode):
                self._fail(at, "a key must be plain text")
            if key.tag == f"{_TAG}merge":
                merged |= {e.key: e for e in self._merge(value, at) if e.key not in merged}
                continue
            if key.value in own:
                first = own[key.value].position
                self.problems.append(Problem(at, f"`{key.value}` is already given in line {first.line}"))
                continue
            own[key.value] = Entry(at, key.value, self.node(value))
        if merged:
            return tuple((merged | own).values())
        return tuple(own.values())

    def _merge(self, value: Any, at: Position) -> list[Entry]:
        sources = value.value if isinstance(value, SequenceNode) else [value]
        entries: list[Entry] = []
        for source in sources:
            built = self.node(source)
            if not isinstance(built, Mapping):
                self._fail(at, "`<<` takes a mapping")
            entries += [e for e in built.entries if all(e.key != have.key for have in entries)]
        return entries

    def _kind(self, node: ScalarNode, position: Position) -> str:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in ("str", "int", "float", "bool", "null"):
            return kind
        if kind in ("timestamp", "value"):
            return "str"
        return self._fail(position, f"the tag `{node.tag}` has no meaning here")

    def _fail(self, position: Position, message: str) -> NoReturn:
        raise ManifestError([*self.problems, Problem(position, message)])


def _at(text: str, offset: int | None, file: str) -> Position:
    if offset is None:
        return Position(file)
    before = text[:offset]
    return Position(file, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _unreadable(error: YAMLError) -> str:
    return "this is not YAML: " + (str(error).splitlines() or ["unreadable"])[0]
