"""A connection, and a loop to be polled."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scorer.tests.http.places import Place
from scorer.tests.http.wires import Wire


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="lo-", dir="/tmp") as folder, contextlib.closing(Place(folder)) as made:
        yield made


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(*arguments: Any, **options: Any) -> Wire:
        made.append(Wire(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
