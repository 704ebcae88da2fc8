"""Pages: put together they are the whole list, whatever the sizes and the filter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidArgumentError
from controlplane.usecases import paging
from controlplane.usecases.paging import Cursor, Page, Query, collect

numbers = st.lists(st.integers(0, 2000), unique=True, max_size=1200).map(sorted)


def page_of(items: Sequence[int], query: Query, modulus: int | None) -> Page[int]:
    async def fetch(cursor: Cursor, limit: int) -> Sequence[int]:
        return [item for item in items if item > cursor[0]][:limit]

    matches = None if modulus is None else (lambda item: item % modulus == 0)
    return asyncio.run(collect(query, (-1,), fetch, lambda item: (item,), matches))


@given(numbers, st.integers(1, 1000), st.none() | st.integers(1, 50))
def test_pages_make_the_whole_list(items: list[int], size: int, modulus: int | None) -> None:
    found: list[int] = []
    token = ""
    while True:
        page = page_of(items, Query(page_size=size, page_token=token), modulus)
        assert len(page.items) == size or not page.next_token
        found += page.items
        token = page.next_token
        if not token:
            break
    assert found == [item for item in items if modulus is None or item % modulus == 0]


@given(st.text(max_size=30))
def test_a_foreign_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(InvalidArgumentError, match="page_token"):
            page_of([1, 2], Query(page_token=token), None)


def test_a_token_belongs_to_its_list() -> None:
    token = page_of([1, 2], Query(parent="a", page_size=1), None).next_token
    with pytest.raises(InvalidArgumentError, match="page_token"):
        page_of([1, 2], Query(parent="b", page_size=1, page_token=token), None)


@pytest.mark.parametrize("size", [-1, paging.SIZE_MAX + 1])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgumentError, match="page_size"):
        page_of([], Query(page_size=size), None)
