"""How long to wait after failures in a row: exponential, capped, with jitter so that many do not retry in step."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: ``first``, then ``factor`` times more each time, up to ``cap``."""

    first: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.1
    """The share of the wait that is random, 0 to 1."""

    def delay(self, failures: int, random_source: random.Random) -> float:
        """Seconds to wait after ``failures`` failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        # The exponent is bounded so that a very long row of failures cannot overflow a float.
        wait = min(self.cap, self.first * self.factor ** min(failures - 1, 64))
        return wait * (1 - self.jitter * random_source.random())
