"""A queue of keys that want attention, the heart of every reconcile loop.

Level-triggered work needs three things of its queue: a key that is added twice is handled once; a key is never handled
twice at the same time, and one added while it is being handled is handled again afterwards; a key whose handling
failed comes back later and later. The same contract as the work queues of Kubernetes' controllers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from controlplane.domain.backoff import Backoff

K = TypeVar("K")
log = structlog.get_logger(__name__)


class WorkQueue(Generic[K]):
    """Calls ``handle`` for each added key, at most once at a time per key and ``concurrency`` times in all."""

    def __init__(
        self,
        name: str,
        handle: Callable[[K], Awaitable[None]],
        *,
        concurrency: int,
        backoff: Backoff,
        random_source: random.Random,
    ) -> None:
        self._name = name
        self._handle = handle
        self._backoff = backoff
        self._random = random_source
        self._slots = asyncio.Semaphore(concurrency)
        self._dirty: set[K] = set()
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._closed = False

    def add(self, key: K) -> None:
        """Handle ``key`` soon."""
        if self._closed:
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._dirty.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._work(key), name=f"{self._name}:{key}")

    def add_after(self, key: K, seconds: float) -> None:
        """Handle ``key`` in ``seconds``, or sooner when it is added before; the earliest of several wishes wins."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        when = loop.time() + max(0.0, seconds)
        if timer is None or timer.when() > when:
            if timer is not None:
                timer.cancel()
            self._timers[key] = loop.call_at(when, self.add, key)

    async def idle(self) -> None:
        """Wait until nothing is being handled or about to be (keys that wait for their time do not count)."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def close(self) -> None:
        """Take no more keys, and cancel what is being handled."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: K) -> None:
        try:
            while key in self._dirty:
                async with self._slots:
                    self._dirty.discard(key)
                    try:
                        await self._handle(key)
                        self._failures.pop(key, None)
                    except Exception:
                        failures = self._failures[key] = self._failures.get(key, 0) + 1
                        wait = self._backoff.delay(failures, self._random)
                        log.exception("reconcile failed", loop=self._name, key=str(key), retry_in=round(wait, 2))
                        self.add_after(key, wait)
        finally:
            del self._tasks[key]
