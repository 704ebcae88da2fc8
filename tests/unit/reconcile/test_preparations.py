"""Preparations beside the loops, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from controlplane.domain.backoff import Backoff
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.ports import Preparation, PreparationError
from controlplane.reconcile.preparations import Preparations
from tests.unit.reconcile.fakes import MemoryBackend

pytestmark = pytest.mark.looptime
TEMPLATE = InstanceTemplate("house", "blue", scoring_script="v1.py")


class Flaky(MemoryBackend):
    """Its index does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        self.tries += 1
        await asyncio.sleep(1)
        raise PreparationError("EnvironmentBuildFailed", "the index does not answer", transient=True)


@pytest.fixture
def flaky(looptime: object) -> Flaky:
    return Flaky()


@pytest.fixture
def preparations(flaky: Flaky) -> Preparations:
    return Preparations(flaky, Backoff(first=10, factor=1, jitter=0), random.Random(7))


async def test_a_new_wish_tries_at_once_and_takes_the_place_of_the_old_tries(
    preparations: Preparations, flaky: Flaky
) -> None:
    preparations.ensure(TEMPLATE, "uid/1", lambda: None)
    await asyncio.sleep(5)
    assert flaky.tries == 1
    preparations.ensure(TEMPLATE, "uid/2", lambda: None)
    await asyncio.sleep(0.5)
    assert flaky.tries == 2
    await asyncio.sleep(109)  # every 11 seconds, by one of the two alone
    assert flaky.tries == 2 + 9
    await preparations.close()


async def test_asking_often_is_told_of_each_step_once(preparations: Preparations) -> None:
    told: list[str] = []
    for _ in range(50):
        preparations.ensure(TEMPLATE, "uid/1", lambda: told.append("step"))
    await asyncio.sleep(2)
    assert told == ["step"]
    await preparations.close()
