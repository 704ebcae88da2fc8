"""A latency digest: quantiles of any number of requests with a proven error, in little memory.

Buckets as in HDR histograms: 32 equal ones in every power of two of microseconds, so a bucket is at most 1/32 of its
lower bound wide, and its middle is at most 1/64 (1.6 %) away from any value in it. The buckets are the same for
everyone: merging adds counts, exactly, in any order (t-digests and sampled reservoirs have neither property, and no
bound). Integer arithmetic alone; only buckets that were hit are kept, at most 896 of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS
RELATIVE_ERROR = 1 / (2 * _SUB)
"""Of every quantile, against the recorded value of that rank."""
MAX_MICROSECONDS = (1 << 32) - 1
"""71 minutes; what took longer counts as that."""


class LatencyDigest:
    """Counts of latencies in whole microseconds."""

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        """Sum of all, in microseconds; exact."""
        self.maximum = 0
        for value in values:
            self.add(value)

    def add(self, microseconds: int) -> None:
        """Count one request. Less than 0 counts as 0, more than :data:`MAX_MICROSECONDS` as that."""
        value = min(max(microseconds, 0), MAX_MICROSECONDS)
        shift = max(value.bit_length() - _SUB_BITS - 1, 0)
        index = (shift << _SUB_BITS) + (value >> shift)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.count += 1
        self.total += value
        self.maximum = max(self.maximum, value)

    def merge(self, other: LatencyDigest) -> None:
        """Count everything that ``other`` has, too."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    def quantiles(self, *ranks: float) -> tuple[float, ...]:
        """For each rank in (0, 1] the value, in microseconds, that this part of all requests did not exceed.

        By nearest rank, within :data:`RELATIVE_ERROR`. All 0 without requests. ``ranks`` must rise.
        """
        if not self.count:
            return tuple(0.0 for _ in ranks)
        found: list[float] = []
        seen = 0
        buckets = iter(sorted(self._counts.items()))
        index = 0
        for rank in ranks:
            wanted = max(1, math.ceil(rank * self.count - 1e-9))
            while seen < wanted:
                index, count = next(buckets)
                seen += count
            found.append(min(_middle(index), float(self.maximum)))
        return tuple(found)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LatencyDigest)
            and (self._counts, self.total, self.maximum) == (other._counts, other.total, other.maximum)
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]  # it changes


def _middle(index: int) -> float:
    if index < 2 * _SUB:
        return float(index)
    shift = (index >> _SUB_BITS) - 1
    low = ((index & (_SUB - 1)) + _SUB) << shift
    return low + ((1 << shift) - 1) / 2
