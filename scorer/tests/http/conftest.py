"""A loop to be polled."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import pytest

from scorer.tests.http.places import Place


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="lo-", dir="/tmp") as folder, contextlib.closing(Place(folder)) as made:
        yield made
