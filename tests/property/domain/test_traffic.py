from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.backoff import Backoff
from controlplane.domain.errors import InvalidTrafficError
from controlplane.domain.routed_traffic import routed_traffic
from controlplane.domain.traffic import check_traffic, shown, without_zeros

NAMES = st.sampled_from(["blue", "green", "red"])
SPLITS = st.integers(0, 100).flatmap(
    lambda first: st.integers(0, 100 - first).map(
        lambda second: {"blue": first, "green": second, "red": 100 - first - second}
    )
)


def accepted(traffic: dict[str, int], mirror: dict[str, int], names: set[str]) -> bool:
    try:
        check_traffic(traffic, mirror, names)
    except InvalidTrafficError:
        return False
    return True


@given(st.dictionaries(NAMES, st.integers(-5, 110)), st.sets(NAMES))
def test_traffic_is_accepted_exactly_when_it_is_whole_or_nothing(traffic: dict[str, int], names: set[str]) -> None:
    valid = set(traffic) <= names and all(0 <= p <= 100 for p in traffic.values()) and sum(traffic.values()) in (0, 100)
    assert accepted(traffic, {}, names) == valid


@given(SPLITS, st.dictionaries(NAMES, st.integers(-5, 60)))
def test_a_mirror_is_one_deployment_without_live_traffic(traffic: dict[str, int], mirror: dict[str, int]) -> None:
    live = without_zeros(mirror)
    valid = len(live) <= 1 and all(0 < p <= 50 and not traffic[n] for n, p in live.items())
    assert accepted(traffic, mirror, {"blue", "green", "red"}) == valid


@given(SPLITS, SPLITS, st.sets(NAMES))
def test_routed_traffic_is_always_the_wish_or_what_was(
    wished: dict[str, int], effective: dict[str, int], answering: set[str]
) -> None:
    routed = routed_traffic(wished, effective, answering, {"blue", "green", "red"})
    assert routed.weights in (without_zeros(wished), without_zeros(effective))
    assert sum(routed.weights.values()) == 100
    newly = {name for name in without_zeros(wished) if not effective[name]}
    assert set(routed.waiting_for) == newly - answering


@given(SPLITS, st.sets(NAMES))
def test_every_deployment_is_shown(traffic: dict[str, int], names: set[str]) -> None:
    assert set(shown(traffic, names)) == names | set(traffic)


@given(st.integers(0, 10**6), st.integers())
def test_backoff_never_exceeds_its_cap_and_never_shrinks_by_more_than_jitter(failures: int, seed: int) -> None:
    backoff = Backoff()
    wait = backoff.delay(failures, random.Random(seed))
    assert 0 <= wait <= backoff.cap
    assert backoff.delay(failures + 1, random.Random(seed)) >= wait * (1 - backoff.jitter)
