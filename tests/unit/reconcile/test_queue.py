from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from controlplane.domain.backoff import Backoff
from controlplane.reconcile.queue import WorkQueue

pytestmark = pytest.mark.looptime


def queue(handle, concurrency: int = 4) -> WorkQueue[str]:
    return WorkQueue(
        "test", handle, concurrency=concurrency, backoff=Backoff(jitter=0.0), random_source=random.Random(1)
    )


async def test_a_key_added_while_it_waits_is_handled_once() -> None:
    handled: list[str] = []

    async def handle(key: str) -> None:
        handled.append(key)

    q = queue(handle)
    for _ in range(5):
        q.add("a")
    await q.idle()
    assert handled == ["a"]


async def test_a_key_added_while_it_is_handled_is_handled_again_and_never_twice_at_once() -> None:
    active = 0
    handled = 0

    async def handle(key: str) -> None:
        nonlocal active, handled
        active += 1
        assert active == 1
        await asyncio.sleep(1)
        active -= 1
        handled += 1

    q = queue(handle)
    q.add("a")
    await asyncio.sleep(0.5)
    q.add("a")
    q.add("a")
    await q.idle()
    assert handled == 2


async def test_failures_come_back_later_and_later_until_one_succeeds() -> None:
    at: list[float] = []

    async def handle(key: str) -> None:
        at.append(asyncio.get_running_loop().time())
        if len(at) < 4:
            raise RuntimeError("not yet")

    q = queue(handle)
    q.add("a")
    await asyncio.sleep(60)
    assert [round(b - a) for a, b in pairwise(at)] == [1, 2, 4]


async def test_no_more_than_the_given_number_at_once() -> None:
    active = peak = 0

    async def handle(key: str) -> None:
        nonlocal active, peak
        active += 1
        peak = max(peak, active)
        await asyncio.sleep(1)
        active -= 1

    q = queue(handle, concurrency=3)
    for number in range(10):
        q.add(str(number))
    await q.idle()
    assert peak == 3


async def test_the_earliest_of_several_delays_wins_and_an_add_beats_them_all() -> None:
    at: list[float] = []

    async def handle(key: str) -> None:
        at.append(asyncio.get_running_loop().time())

    q = queue(handle)
    start = asyncio.get_running_loop().time()
    q.add_after("a", 10)
    q.add_after("a", 5)
    q.add_after("a", 20)
    await asyncio.sleep(30)
    assert [round(t - start) for t in at] == [5]
    q.add_after("a", 10)
    q.add("a")
    await asyncio.sleep(30)
    assert len(at) == 2


async def test_a_closed_queue_cancels_what_runs_and_takes_nothing() -> None:
    cancelled = False

    async def handle(key: str) -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled = True
            raise

    q = queue(handle)
    q.add("a")
    await asyncio.sleep(1)
    await q.close()
    q.add("b")
    assert cancelled
    await q.idle()
