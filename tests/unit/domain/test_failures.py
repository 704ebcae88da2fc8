from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from controlplane.domain.backoff import Backoff
from controlplane.domain.deployment_plan import InstanceView
from controlplane.domain.failures import STABLE, FailureCount
from controlplane.domain.instances import InstanceFailure, InstanceObservation, InstanceRecord, InstanceState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACKOFF = Backoff(jitter=0.0)


def failed(
    name: str,
    *,
    ready_for: timedelta | None = None,
    template: str = "one",
    drain: bool = False,
    reason: str = "InitFailed",
) -> InstanceView:
    record = InstanceRecord(name, "house", "blue", "uid", template, NOW, draining=drain)
    seen = InstanceObservation(
        name,
        InstanceState.FAILED,
        template,
        ready_since=None if ready_for is None else NOW - ready_for,
        ended=NOW,
        failure=InstanceFailure(reason, f"{name} broke"),
    )
    return InstanceView(record, seen)


def ready(name: str, since: timedelta) -> InstanceView:
    record = InstanceRecord(name, "house", "blue", "uid", "one", NOW)
    return InstanceView(record, InstanceObservation(name, InstanceState.READY, "one", ready_since=NOW - since))


def count(count: FailureCount, *views: InstanceView, template: str = "one") -> FailureCount:
    return count.after(template, views, NOW, BACKOFF, random.Random(1))


def test_an_instance_is_counted_once() -> None:
    once = count(FailureCount(), failed("a"))
    assert count(once, failed("a")) == once
    assert once.attempts.failures == 1


def test_one_that_never_answered_waits_before_the_next() -> None:
    assert count(FailureCount(), failed("a")).attempts.not_before == NOW + timedelta(seconds=1)
    twice = count(FailureCount(), failed("a"), failed("b"))
    assert twice.attempts.not_before == NOW + timedelta(seconds=2)


def test_one_that_answered_is_replaced_at_once() -> None:
    assert count(FailureCount(), failed("a", ready_for=timedelta(seconds=5))).attempts.not_before == NOW


def test_a_crash_loop_of_ones_that_answered_slows_down_too() -> None:
    counted = FailureCount()
    for name in "abcde":
        counted = count(counted, failed(name, ready_for=timedelta(seconds=1)))
    assert counted.attempts.not_before == NOW + timedelta(seconds=8)
    assert counted.attempts.exhausted


def test_a_long_good_life_starts_the_count_anew() -> None:
    counted = count(FailureCount(), failed("a"), failed("b"), failed("c", ready_for=STABLE))
    assert counted.attempts.failures == 1


def test_once_every_instance_answered_long_enough_nothing_is_held_against_it() -> None:
    counted = count(FailureCount(), failed("a"), failed("b"), failed("c"))
    assert count(counted, ready("d", STABLE), ready("e", STABLE / 2)).attempts.exhausted
    assert count(counted, ready("d", STABLE), failed("c")).attempts.exhausted
    assert count(counted, ready("d", STABLE), ready("e", STABLE)).attempts.failures == 0
    assert count(counted).attempts.exhausted, "no instance says nothing"


def test_instances_that_are_gone_are_not_remembered() -> None:
    counted = FailureCount()
    for number in range(100):
        counted = count(counted, failed(f"i{number}"))
    assert counted.counted == {"i99"}


def test_another_template_starts_from_zero() -> None:
    counted = count(FailureCount(), failed("a"), failed("b"))
    assert count(counted, template="two").attempts.failures == 0


def test_an_old_instance_does_not_speak_against_the_new_template_but_is_not_restarted_hotly() -> None:
    counted = count(FailureCount(), failed("old"), template="two")
    assert counted.attempts.failures == 0
    assert counted.attempts.not_before == NOW + timedelta(seconds=1)


def test_one_that_was_told_to_go_does_not_count() -> None:
    assert count(FailureCount(), failed("a", drain=True)).attempts.failures == 0


def test_what_no_second_try_mends_is_told_at_once() -> None:
    assert count(FailureCount(), failed("a", reason="MissingFunction")).attempts.exhausted
    assert not count(FailureCount(), failed("a", reason="InitFailed")).attempts.exhausted
