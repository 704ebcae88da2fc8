"""The blocking client is the asyncio one without the waiting."""

from __future__ import annotations

import ast
import inspect

import pytest

from penstock import aio, blocking
from penstock.aio.transport import Transport as AsyncTransport
from penstock.blocking import generate
from penstock.blocking.transport import Transport as BlockingTransport

FILES = generate.generate()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_what_the_generator_writes(path: object) -> None:
    assert path.read_text() == FILES[path], "run `python -m penstock.blocking.generate`"  # type: ignore[attr-defined, index]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_asynchronous_is_left(path: object) -> None:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(ast.parse(FILES[path])) if isinstance(node, kinds)]  # type: ignore[index]


def test_the_two_transports_offer_the_same() -> None:
    def offered(cls: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(cls, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in methods}

    assert offered(AsyncTransport) == offered(BlockingTransport)


def test_both_are_exported_alike() -> None:
    assert aio.__all__ == blocking.__all__
