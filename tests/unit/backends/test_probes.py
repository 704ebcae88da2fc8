"""When a row of probes turns the verdict."""

from controlplane.backends.process.probes import ProbeCount
from controlplane.domain.specs import ProbeSettings


def test_a_success_counts_at_once() -> None:
    count = ProbeCount(ProbeSettings(initial_delay_seconds=10))
    count.add(ok=True, age_seconds=0.05)
    assert count.healthy


def test_a_failure_counts_only_after_the_initial_delay() -> None:
    count = ProbeCount(ProbeSettings(initial_delay_seconds=10, failure_threshold=2))
    for age in (1.0, 5.0, 9.9, 10.0):
        count.add(ok=False, age_seconds=age)
    assert not count.failed
    count.add(ok=False, age_seconds=20)
    assert count.failed


def test_only_failures_in_a_row_count() -> None:
    count = ProbeCount(ProbeSettings(initial_delay_seconds=0, failure_threshold=3), healthy=True)
    for ok in (False, False, True, False, False):
        count.add(ok=ok, age_seconds=60)
    assert count.healthy
    count.add(ok=False, age_seconds=60)
    assert (count.healthy, count.failed) == (False, True)
    count.add(ok=True, age_seconds=60)
    assert (count.healthy, count.failed) == (True, False)


def test_successes_up_to_the_threshold() -> None:
    count = ProbeCount(ProbeSettings(initial_delay_seconds=0, success_threshold=2))
    for ok in (True, False, True):
        count.add(ok=ok, age_seconds=1)
    assert not count.healthy
    count.add(ok=True, age_seconds=1)
    assert count.healthy
