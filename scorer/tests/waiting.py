"""Waiting for what happens in another process: looked at often, given up late."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_S = 0.02


def eventually(condition: Callable[[], object], seconds: float = 15) -> bool:
    """Whether ``condition`` has become true within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(_LOOK_S)
    return False
