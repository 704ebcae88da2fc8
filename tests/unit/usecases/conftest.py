from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.platform import CODE, FILE, Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    opened = await open_platform(tmp_path)
    await opened.upload(CODE, FILE)
    yield opened
    await opened.store.close()
