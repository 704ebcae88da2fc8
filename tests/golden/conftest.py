"""Golden files: the exact output, kept beside the tests. ``make golden`` rewrites them; read the difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="rewrite the golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of a name, in ``data`` beside the test."""
    folder = Path(request.path).parent / "data"
    update = request.config.getoption("--golden-update", default=False)

    def compare(name: str, text: str) -> None:
        path = folder / name
        if update:
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run `make golden`"
        assert text == path.read_text(encoding="utf-8")

    return compare
