"""The digest's promises: a bound on every quantile, exact merging, little memory."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.digest import MAX_MICROSECONDS, RELATIVE_ERROR, LatencyDigest

latencies = st.one_of(
    st.integers(0, MAX_MICROSECONDS),
    st.integers(0, 200),
    st.integers(0, 31).flatmap(lambda power: st.integers(-1, 1).map(lambda d: max(0, (1 << power) + d))),
)
samples = st.lists(latencies, max_size=60)
ranks = st.sampled_from([1 / 1000, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0])


@given(st.lists(latencies, min_size=1, max_size=200), ranks)
def test_a_quantile_is_near_the_value_of_that_rank(values: list[int], rank: float) -> None:
    (estimate,) = LatencyDigest(values).quantiles(rank)
    exact = sorted(values)[max(1, math.ceil(rank * len(values) - 1e-9)) - 1]
    assert abs(estimate - exact) <= exact * RELATIVE_ERROR


@given(samples)
def test_quantiles_rise_and_end_at_the_maximum(values: list[int]) -> None:
    digest = LatencyDigest(values)
    found = digest.quantiles(0.01, 0.5, 0.9, 0.95, 0.99, 1.0)
    assert list(found) == sorted(found)
    assert found[-1] <= digest.maximum == max(values, default=0)


@given(samples, samples, samples)
def test_merging_is_counting_together_in_any_order(a: list[int], b: list[int], c: list[int]) -> None:
    left = merged(merged(LatencyDigest(a), LatencyDigest(b)), LatencyDigest(c))
    right = merged(LatencyDigest(a), merged(LatencyDigest(c), LatencyDigest(b)))
    assert left == right == LatencyDigest([*a, *b, *c])


@given(st.integers(-(1 << 40), 1 << 50))
def test_what_is_out_of_range_counts_at_its_end(value: int) -> None:
    digest = LatencyDigest([value])
    assert digest.count == 1
    assert digest.total == digest.maximum == min(max(value, 0), MAX_MICROSECONDS)


def test_its_memory_is_bounded() -> None:
    digest = LatencyDigest((1 << power) + (step << power) // 64 for power in range(32) for step in range(64))
    assert len(digest._counts) <= 896
    digest.add(MAX_MICROSECONDS)
    assert len(digest._counts) <= 896


def test_nothing_recorded_is_zero() -> None:
    assert LatencyDigest().quantiles(0.5, 0.99) == (0.0, 0.0)


def merged(into: LatencyDigest, other: LatencyDigest) -> LatencyDigest:
    into.merge(other)
    return into
