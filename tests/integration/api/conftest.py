from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Client, open_client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with open_client() as opened:
        yield opened
