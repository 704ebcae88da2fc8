"""Keeps the gateway's access log small: it is Envoy's file, so it is renamed, and Envoy told to open it anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from gateway.admin import AdminUnreachableError

log = structlog.get_logger(__name__)

_PERIOD_SECONDS = 30.0
_BYTES = 64 * 1024 * 1024
_KEPT = 3


class AccessLog:
    """The file at ``path``; ``reopen`` has Envoy open it anew."""

    def __init__(
        self, path: Path, reopen: Callable[[], Awaitable[None]], *, limit: int = _BYTES, kept: int = _KEPT
    ) -> None:
        """``limit`` is in bytes; so many older files are ``kept`` beside it, as ``path.1`` and so on."""
        self._path, self._reopen = path, reopen
        self._limit, self._kept = limit, kept

    async def keep_small(self) -> None:
        """Look every 30 s, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Rename it if it has grown too large, and have it opened anew where it is missing.

        Missing, whoever renamed it: Envoy may not have answered the last time, and goes on writing to the old one.
        """
        try:
            if await asyncio.to_thread(self._is_to_be_opened):
                await self._reopen()
        except (OSError, AdminUnreachableError) as error:
            log.warning("the gateway's access log could not be rotated", reason=str(error))

    def _is_to_be_opened(self) -> bool:
        if self._path.exists() and self._path.stat().st_size >= self._limit:
            for number in range(self._kept, 0, -1):
                newer = self._path if number == 1 else self._older(number - 1)
                if newer.exists():
                    newer.replace(self._older(number))
        return not self._path.exists()

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
