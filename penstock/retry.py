"""When a call that failed is made again.

Only reads are, and only when nothing answered: a control plane that restarts is back within seconds, and a change
that got no answer may have been made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Waits between attempts: doubling, capped, with jitter so that many clients don't come back at once."""

    attempts: int = 5
    """Retries after the first attempt."""
    first_seconds: float = 0.1
    most_seconds: float = 2.0
    random: Callable[[], float] = random.random
    """A number from 0 to 1."""

    def delays(self) -> Iterator[float]:
        """Seconds to wait before each retry: 50 to 100 % of the doubled step."""
        for attempt in range(self.attempts):
            step = min(self.most_seconds, self.first_seconds * 2**attempt)
            yield step * (0.5 + self.random() / 2)
