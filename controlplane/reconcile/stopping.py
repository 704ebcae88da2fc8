"""Stopping instances in the background: each may take its whole grace period, and nothing else must wait for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from controlplane.domain.backoff import Backoff
from controlplane.domain.desired_state import DesiredState
from controlplane.domain.ports import Backend

log = structlog.get_logger(__name__)


class StoppingInstances:
    """Ends instances, then forgets their records. Asking twice for the same instance is asking once."""

    def __init__(
        self,
        state: DesiredState,
        backend: Backend,
        grace_seconds: float,
        *,
        backoff: Backoff,
        random_source: random.Random,
    ) -> None:
        """``backoff`` paces the tries of what cannot be stopped, or whose record the store cannot forget."""
        self._state = state
        self._backend = backend
        self._grace = grace_seconds
        self._backoff = backoff
        self._random = random_source
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def stop(self, instance: str, then: Callable[[], None]) -> None:
        """End ``instance`` within the grace period, forget it, and call ``then``; tried until it is done."""
        if instance not in self._tasks:
            self._tasks[instance] = asyncio.create_task(self._stop(instance, then), name=f"stop:{instance}")

    def under_way(self) -> frozenset[str]:
        """The instances that are being ended, or whose records are being forgotten."""
        return frozenset(self._tasks)

    async def close(self) -> None:
        """Cancel what is under way; whoever plans next stops it again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop(self, instance: str, then: Callable[[], None]) -> None:
        failures = 0
        try:
            while not await self._stopped(instance):
                failures += 1
                await asyncio.sleep(self._backoff.delay(failures, self._random))
        finally:
            del self._tasks[instance]
        then()

    async def _stopped(self, instance: str) -> bool:
        try:
            await self._backend.stop(instance, self._grace)
            await self._state.forget_instances([instance])
        except Exception:
            log.exception("stopping an instance failed, and will be tried again", instance=instance)
            return False
        return True
