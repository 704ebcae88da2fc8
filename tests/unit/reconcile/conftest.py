from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.reconcile.fakes import Platform


@pytest.fixture
async def platform(looptime: object) -> AsyncIterator[Platform]:
    platform = Platform()
    platform.reconciler.start()
    yield platform
    await platform.reconciler.close()
