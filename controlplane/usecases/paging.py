"""Lists in pages: opaque tokens, and filtering that never answers a short page while there is more."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from controlplane.domain.errors import InvalidArgumentError, Violation

T = TypeVar("T")
SIZE_DEFAULT = 100
SIZE_MAX = 1000
_FILTERED_BATCH = 500

Cursor = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What a list call asks for. ``parent`` and ``filter`` must stay the same from page to page."""

    parent: str = ""
    filter: str = ""
    page_size: int = 0
    """1 to 1000; 0 means 100."""
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the token for the next ones; empty on the last page."""

    items: tuple[T, ...]
    next_token: str = ""


async def collect(
    query: Query,
    first: Cursor,
    fetch: Callable[[Cursor, int], Awaitable[Sequence[T]]],
    cursor_of: Callable[[T], Cursor],
    matches: Callable[[T], bool] | None = None,
) -> Page[T]:
    """One page. ``fetch`` gives items behind a cursor, in order; ``first`` is a cursor before all of them.

    Raises:
        InvalidArgumentError: the size is out of range, or the token is not one of this list's.
    """
    size, cursor = _size(query), _open(query, first)
    limit = size + 1 if matches is None else max(size + 1, _FILTERED_BATCH)
    found: list[T] = []
    while True:
        batch = await fetch(cursor, limit)
        for item in batch:
            if matches is None or matches(item):
                if len(found) == size:
                    return Page(tuple(found), _seal(query, cursor_of(found[-1])))
                found.append(item)
        if len(batch) < limit:
            return Page(tuple(found))
        cursor = cursor_of(batch[-1])
        await asyncio.sleep(0)  # a long scan lets others have their turn


def _size(query: Query) -> int:
    if not 0 <= query.page_size <= SIZE_MAX:
        raise InvalidArgumentError(Violation("page_size", f"is {query.page_size}, and 1 to {SIZE_MAX} are taken"))
    return query.page_size or SIZE_DEFAULT


def _seal(query: Query, cursor: Cursor) -> str:
    content = json.dumps([_list_of(query), *cursor], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _open(query: Query, first: Cursor) -> Cursor:
    if not query.page_token:
        return first
    try:
        padded = query.page_token + "=" * (-len(query.page_token) % 4)
        of, *cursor = json.loads(base64.urlsafe_b64decode(padded.encode()))
        if of == _list_of(query) and [type(part) for part in cursor] == [type(part) for part in first]:
            return tuple(cursor)
    except (ValueError, TypeError, binascii.Error):
        pass
    raise InvalidArgumentError(
        Violation("page_token", "is not one that this list gave, with this parent and filter"),
        hint="Start again without a page token.",
    )


def _list_of(query: Query) -> str:
    return hashlib.sha256(json.dumps([query.parent, query.filter]).encode()).hexdigest()[:8]
