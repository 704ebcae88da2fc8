from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
from penstock.retry import Retry
from tests.integration.cli.fake_platform import TOKEN, FakePlatform, socket_address


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path must be."""
    with tempfile.TemporaryDirectory(prefix="pst-") as name:
        yield Path(name)


@pytest.fixture
def platform(folder: Path) -> Iterator[FakePlatform]:
    fake = FakePlatform()
    server = fake.start(socket_address(folder))
    yield fake
    server.stop(None).wait()


@pytest.fixture
def target(platform: FakePlatform, folder: Path) -> str:
    return socket_address(folder)


QUICK = Retry(attempts=3, first_seconds=0.001, most_seconds=0.002)


@pytest.fixture
def client(target: str) -> Iterator[penstock.Client]:
    with penstock.Client(target, TOKEN, retry=QUICK) as made:
        yield made
