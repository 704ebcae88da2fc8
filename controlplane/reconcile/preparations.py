"""Preparing templates in the background: building an environment may take minutes, and nothing else must wait for it.

While a new template is being prepared, the deployment loop goes on looking after the instances that serve.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import structlog

from controlplane.domain.backoff import Backoff
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.ports import Backend, Preparation, PreparationError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PreparationProgress:
    """Where a preparation is. Exactly one of ``done`` and ``failed`` is set at its end."""

    asked_by: str
    line: str = "preparing the environment"
    done: Preparation | None = None
    failed: PreparationError | None = None
    failures: int = 0
    task: asyncio.Task[None] | None = None
    listeners: dict[str, Callable[[], None]] = field(default_factory=dict)
    """By who asked, so that asking often adds nothing."""


class Preparations:
    """One preparation per template hash, shared by all who ask for it."""

    def __init__(self, backend: Backend, backoff: Backoff, random_source: random.Random) -> None:
        self._backend = backend
        self._backoff = backoff
        self._random = random_source
        self._by_hash: dict[str, PreparationProgress] = {}

    def ensure(self, template: InstanceTemplate, asked_by: str, listener: Callable[[], None]) -> PreparationProgress:
        """Start preparing, or say how far it is. ``listener`` is called at each step.

        ``asked_by`` names the wish (a deployment's uid and generation): a new wish tries again what failed for good,
        since the user may have mended what was outside (a package index, a full disk).
        """
        key = template.hash
        progress = self._by_hash.get(key)
        if progress is None or (progress.failed is not None and progress.asked_by != asked_by):
            if progress is not None and progress.task is not None:
                progress.task.cancel()  # it may be waiting to try again by itself
            progress = self._by_hash[key] = PreparationProgress(asked_by)
            progress.task = asyncio.create_task(self._prepare(template, progress), name=f"prepare:{key}")
        if progress.done is None:
            progress.listeners[asked_by] = listener
        return progress

    def retain(self, hashes: Collection[str]) -> None:
        """Forget preparations nobody needs any more; one that is running is cancelled."""
        for key in self._by_hash.keys() - set(hashes):
            task = self._by_hash.pop(key).task
            if task is not None:
                task.cancel()

    async def close(self) -> None:
        """Cancel what is running. It is begun anew by whoever asks next."""
        tasks = [p.task for p in self._by_hash.values() if p.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, template: InstanceTemplate, progress: PreparationProgress) -> None:
        def tell(line: str) -> None:
            progress.line = line
            self._announce(progress)

        while True:
            try:
                progress.done = await self._backend.prepare(template, tell)
                progress.failed = None
                break
            except PreparationError as error:
                progress.failed = error
                if not error.transient:
                    break
            except Exception as error:
                log.exception("preparation failed", deployment=f"{template.endpoint}/{template.deployment}")
                progress.failed = PreparationError("InternalError", f"{type(error).__name__}: {error}", transient=True)
            progress.failures += 1
            self._announce(progress)
            await asyncio.sleep(self._backoff.delay(progress.failures, self._random))
        self._announce(progress)

    def _announce(self, progress: PreparationProgress) -> None:
        for listener in tuple(progress.listeners.values()):
            listener()
