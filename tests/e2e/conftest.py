from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import Platform, new_platform, remove


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


Show = Callable[[str], None]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Prints a figure, also of a test that passes."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")  # noqa: T201 - figures are to be seen

    return write


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A running platform shared by a module's tests, which use endpoints of their own."""
    platform = new_platform()
    try:
        platform.start()
        yield platform
    finally:
        platform.destroy()
        remove(platform)


@pytest.fixture
def fresh_platform() -> Iterator[Platform]:
    """A platform of one test's own, for tests that kill and restart it."""
    platform = new_platform()
    try:
        yield platform
    finally:
        platform.destroy()
        remove(platform)
