"""What a command is. Each group of commands is one module with a ``COMMANDS`` list; nothing registers itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.cli.context import Context


@dataclass(frozen=True, slots=True)
class Columns:
    """How ``-o table`` shows a result: titles with JMESPath expressions. Empty: every plain field."""

    columns: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One verb. ``run`` returns what is printed as data (None: nothing, :class:`Raw`: as it is)."""

    name: str
    help: str
    run: Callable[[Context, argparse.Namespace], Any]
    arguments: Callable[[argparse.ArgumentParser], None] = field(default=lambda _: None)
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class Raw:
    """Text for stdout as it is, whatever the output format."""

    text: str
