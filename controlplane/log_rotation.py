"""Keeps the logs small that processes write by a descriptor they were started with: our own, and Envoy's.

Instances' logs are the backend's business; Envoy's access log, which can be opened anew: see access_log.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from penstock.daemon import LogFile

log = structlog.get_logger(__name__)

_PERIOD_SECONDS = 30.0


class LogRotation:
    """Looks after ``logs``, each of which may not be there yet."""

    def __init__(self, logs: Sequence[LogFile]) -> None:
        self._logs = logs
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look every 30 s."""
        self._task = asyncio.create_task(self._forever(), name="log rotation")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            for each in self._logs:
                try:
                    await asyncio.to_thread(each.rotate)
                except OSError as error:
                    log.warning("a log cannot be rotated and grows", path=str(each.path), reason=str(error))
