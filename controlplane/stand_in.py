"""Stands in for a control plane that is away: tells Envoys what it told last, and starts one if none runs.

Envoy keeps nothing on disk, so one that starts alone would serve nothing. The stand-in reads the snapshot that the
control plane leaves beside the bootstrap, and offers it where the control plane would. For Envoy it is a control plane
whose state does not change; when the real one is back it takes the socket over, and Envoy, which names the versions it
holds, is sent only what differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from controlplane.gateway_process import GatewayProcess
from gateway import ads_socket, journal
from gateway.ads import AdsServer
from gateway.journal import Seal
from gateway.settings import GatewaySettings
from gateway.snapshot import Snapshot
from gateway.translate.listener import listening

log = structlog.get_logger(__name__)

READY_SECONDS = 20.0
_POLL_SECONDS = 0.1
_IDLE_SECONDS = 0.5


class NothingToServeError(Exception):
    """There is no snapshot: no control plane ran here, or it was stopped for good."""

    reason = "NoSnapshot"
    hint = "`penstock up` starts the platform; it leaves a snapshot for the time it is away."


class StandIn:
    """Serves from the snapshot of ``settings`` for as long as nobody else does."""

    def __init__(
        self, settings: GatewaySettings, process: Callable[[GatewaySettings], GatewayProcess], seal: Seal | None = None
    ) -> None:
        """``process`` makes what looks after Envoy; ``seal`` opens the secrets of the snapshot."""
        if settings.snapshot_file is None:
            raise ValueError("a stand-in needs a snapshot file")
        self._settings = settings
        self._process = process
        self._seal = seal
        self._file: Path = settings.snapshot_file
        self._note = self._file.with_name("stand-in.json")

    async def run(self, *, stay: bool) -> None:
        """Stand in until the control plane is back; ``stay``: again each time it goes away.

        Returns at once if it is not away. When this ends, Envoy goes on.

        Raises:
            NothingToServeError: there is no snapshot, and ``stay`` is not set.
            PortInUseError, EnvoyNotFoundError, GatewayNotReadyError: no Envoy runs, and none can be started.
        """
        while True:
            if not ads_socket.answers(self._settings.ads_socket):
                snapshot = journal.load(self._file, self._seal)
                if snapshot is not None:
                    await self._serve(snapshot)
                elif not stay:
                    raise NothingToServeError(f"there is no state to serve from: {self._file} is missing or unreadable")
            if not stay:
                return
            await asyncio.sleep(_IDLE_SECONDS)

    async def _serve(self, snapshot: Snapshot) -> None:
        address, port, tls_port = listening(snapshot)
        server = AdsServer(snapshot, clock=time.monotonic)
        settings = replace(self._settings, listen_address=address, listen_port=port, tls_port=tls_port)
        process = self._process(settings)
        if not await server.start(self._settings.ads_socket, only_vacant=True):
            return
        mine = ads_socket.identity(self._settings.ads_socket)
        try:
            await process.start()
            await process.wait_ready(READY_SECONDS)
            here = f"https://{address}:{tls_port}" if tls_port is not None else f"http://{address}:{port}"
            self._note.write_text(json.dumps({"pid": process.pid, "gateway": here}))
            log.info("standing in for the control plane", gateway_pid=process.pid, gateway=here)
            # Without the snapshot the platform was stopped for good.
            while ads_socket.identity(self._settings.ads_socket) == mine and self._file.exists():
                await asyncio.sleep(_POLL_SECONDS)
            log.info("the control plane is back" if self._file.exists() else "the platform was stopped")
        finally:
            with contextlib.suppress(OSError):
                self._note.unlink()
            await process.close()
            await server.stop()


async def dismiss(settings: GatewaySettings, timeout: float = 5.0) -> None:
    """Take the snapshot away: the platform is stopped for good. Returns when no stand-in serves any more."""
    if settings.snapshot_file is not None:
        settings.snapshot_file.unlink(missing_ok=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            while ads_socket.answers(settings.ads_socket):
                await asyncio.sleep(_POLL_SECONDS)
