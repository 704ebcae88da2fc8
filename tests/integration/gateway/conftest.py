from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig() as rig:
        yield rig
