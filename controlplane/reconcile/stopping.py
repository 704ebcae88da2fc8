"""Stopping instances in the background: each may take its whole grace period, and nothing else must wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from controlplane.domain.desired_state import DesiredState
from controlplane.domain.ports import Backend

log = structlog.get_logger(__name__)


class StoppingInstances:
    """Ends instances, then forgets their records. Asking twice for the same instance is asking once."""

    def __init__(self, state: DesiredState, backend: Backend, grace_seconds: float) -> None:
        self._state = state
        self._backend = backend
        self._grace = grace_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def stop(self, instance: str, then: Callable[[], None]) -> None:
        """End ``instance`` within the grace period, forget it, and call ``then``, also when that failed."""
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
        try:
            await self._backend.stop(instance, self._grace)
            await self._state.forget_instances([instance])
        except Exception:
            log.exception("stopping an instance failed, and will be tried again", instance=instance)
        finally:
            del self._tasks[instance]
        then()
