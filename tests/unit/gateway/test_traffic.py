from __future__ import annotations

import pytest

from gateway.traffic import BOUNDS_S, OUTCOMES_MAX, SLOT_S, SLOTS, WINDOW_S, Outcome, Traffic

OK = Outcome(200, 200)
REFUSED = Outcome(401, 0)


def test_lately_ends_and_totals_stay() -> None:
    traffic = Traffic(since=0.0)
    for slot in range(SLOTS + 3):
        traffic.record(slot, OK, 1000)
    now = (SLOTS + 2) * SLOT_S + 2.5
    figures = traffic.figures(now)
    assert figures.lately == {OK: SLOTS}
    assert figures.latency.count == SLOTS
    assert figures.totals == {OK: SLOTS + 3}
    assert figures.seconds == WINDOW_S - 2.5
    later = traffic.figures(now + WINDOW_S)
    assert (later.lately, later.latency.count, later.per_minute) == ({}, 0, 0)
    assert later.totals == {OK: SLOTS + 3}


def test_rates_are_per_minute_of_the_time_covered() -> None:
    traffic = Traffic(since=100.0)
    for _ in range(10):
        traffic.record(20, OK, 1000)
    assert traffic.figures(110.0).per_minute == 60
    assert traffic.figures(110.0).rate(5) == 30
    assert traffic.figures(100.0).per_minute == 600, "the first second counts whole"


def test_the_histogram_counts_each_request_once() -> None:
    traffic = Traffic(since=0.0)
    for microseconds in (0, 5_000, 5_001, 180_000_000, 180_000_001):
        traffic.record(0, OK, microseconds)
    figures = traffic.figures(1.0)
    assert figures.histogram[0] == 2
    assert figures.histogram[1] == 1
    assert figures.histogram[len(BOUNDS_S) - 1] == 1
    assert figures.histogram[len(BOUNDS_S)] == 1
    assert figures.latency_sum_s == pytest.approx(360.010002)


def test_a_request_without_a_duration_is_counted_all_the_same() -> None:
    traffic = Traffic(since=0.0)
    traffic.record(0, REFUSED, None)
    figures = traffic.figures(1.0)
    assert (figures.totals, figures.latency.count, sum(figures.histogram)) == ({REFUSED: 1}, 0, 0)


def test_invented_status_codes_cost_no_memory_without_end() -> None:
    traffic = Traffic(since=0.0)
    for code in range(100, 1000):
        traffic.record(0, Outcome(424, code), 1)
    figures = traffic.figures(1.0)
    assert len(figures.totals) == OUTCOMES_MAX + 1
    assert sum(figures.totals.values()) == 900
    assert figures.totals[Outcome(0, 0)] == 900 - OUTCOMES_MAX
