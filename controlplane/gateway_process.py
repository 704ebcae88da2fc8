"""The Envoy of this machine: started, adopted, watched, drained.

It outlives the control plane, so a control plane that starts looks for one that runs already and takes it over; its
clients notice nothing. One that ends by itself is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

import structlog

from controlplane.domain.backoff import Backoff
from gateway.admin import Admin, AdminUnreachableError
from gateway.bootstrap import bootstrap, write_bootstrap
from gateway.envoy import check_port, envoy_argv, find_envoy
from gateway.settings import GatewaySettings
from penstock.daemon import Daemon, DaemonState

log = structlog.get_logger(__name__)

FIGURES = ("http.gateway.downstream_cx_active", "access_logs.open_telemetry_access_log.logs_dropped")
_POLL_SECONDS = 0.02
_LOG_CHECK_SECONDS = 30.0
_LOG_BYTES = 64 * 1024 * 1024
_LOGS_KEPT = 3


class GatewayNotReadyError(Exception):
    """Envoy did not become ready in time."""

    reason = "GatewayNotReady"
    hint = "The gateway's log is gateway/log under PENSTOCK_HOME."


class GatewayProcess:
    """Keeps one Envoy running by the record in ``daemon.folder``."""

    def __init__(
        self,
        daemon: Daemon,
        settings: GatewaySettings,
        *,
        environment: Mapping[str, str],
        backoff: Backoff,
        random_source: random.Random,
    ) -> None:
        self._daemon = daemon
        self._settings = settings
        self._environment = environment
        self._backoff = backoff
        self._random = random_source
        self._admin = Admin(settings.admin_socket)
        self._argv = envoy_argv(settings, find_envoy())
        self._tasks: list[asyncio.Task[None]] = []
        self._adopted = False

    @property
    def pid(self) -> int:
        """Envoy's process id, 0 when it does not run."""
        status = self._daemon.status()
        return status.pid if status.state is DaemonState.RUNNING else 0

    async def figures(self) -> tuple[int, int] | None:
        """Client connections open, and log lines it lost; None when it does not answer."""
        try:
            connections, lost = await self._admin.stats(*FIGURES)
        except AdminUnreachableError:
            return None
        return connections, lost

    async def start(self) -> None:
        """Adopt the Envoy that runs, or start one; then keep it running.

        Raises:
            EnvoyNotFoundError: there is no binary.
            PortInUseError: somebody else holds the port; nothing was started.
        """
        if self.pid and not self._is_ours():
            await self._end()
        if self.pid:
            self._adopted = True
            log.info("adopted the gateway that runs", pid=self.pid)
        else:
            check_port(self._settings.listen_address, self._settings.listen_port)
            self._launch()
        self._tasks = [
            asyncio.create_task(self._keep_running(), name="gateway"),
            asyncio.create_task(self._rotate_logs(), name="gateway-logs"),
        ]

    async def wait_ready(self, timeout: float) -> None:
        """Return when Envoy has its configuration and accepts requests.

        Raises:
            GatewayNotReadyError: not within ``timeout`` seconds; the end of its log is in the message.
        """
        try:
            async with asyncio.timeout(timeout):
                while not await self._admin.ready():
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise GatewayNotReadyError(
                f"the gateway is not ready after {timeout:.0f} s: {self._last_words()}"
            ) from None

    async def close(self) -> None:
        """Stop watching; Envoy goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def abandon(self) -> None:
        """Stop watching, and end Envoy if it was started here rather than adopted."""
        watched = bool(self._tasks)
        await self.close()
        if watched and not self._adopted:
            await self._daemon.stop_async(1.0)

    async def stop(self) -> None:
        """Let Envoy finish what it has, then end it."""
        await self.close()
        await self._end()

    async def _end(self) -> None:
        with contextlib.suppress(AdminUnreachableError, TimeoutError):
            await self._admin.drain()
            async with asyncio.timeout(self._settings.drain_seconds):
                while await self._admin.active_requests():
                    await asyncio.sleep(_POLL_SECONDS)
        # Envoy ends at once on SIGTERM; what it had to finish is finished.
        await self._daemon.stop_async(5.0)

    def _launch(self) -> None:
        write_bootstrap(self._settings)
        pid = self._daemon.launch(self._argv, env=dict(self._environment), cwd=self._daemon.folder)
        log.info("started the gateway", pid=pid, port=self._settings.listen_port)

    def _is_ours(self) -> bool:
        """Whether the Envoy that runs was started as we would start it (another version would not be adopted)."""
        try:
            written = json.loads(self._settings.bootstrap_file.read_bytes())
        except (OSError, ValueError):
            return False
        return bool(written == json.loads(json.dumps(bootstrap(self._settings))))

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            born = asyncio.get_running_loop().time()
            await self._daemon.ended()
            lived = asyncio.get_running_loop().time() - born
            failures = 1 if lived > self._backoff.cap else failures + 1
            log.error("the gateway ended by itself and is started again", reason=self._last_words())
            await asyncio.sleep(self._backoff.delay(failures - 1, self._random))
            try:
                self._launch()
            except OSError as error:
                log.exception("the gateway cannot be started, and will be tried again", reason=str(error))

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_CHECK_SECONDS)
            try:
                if await asyncio.to_thread(rotate, self._settings.access_log, _LOG_BYTES, _LOGS_KEPT):
                    await self._admin.reopen_logs()
            except (OSError, AdminUnreachableError) as error:
                log.warning("the gateway's access log could not be rotated", reason=str(error))

    def _last_words(self) -> str:
        try:
            lines = (self._daemon.folder / "log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it left no log"
        return lines[-1] if lines else "it said nothing"


def rotate(path: Path, limit: int, kept: int) -> bool:
    """Move ``path`` to ``path.1`` (and so on, ``kept`` of them) once it has ``limit`` bytes; tells whether it did."""
    if not path.exists() or path.stat().st_size < limit:
        return False
    for number in range(kept, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if newer.exists():
            newer.replace(older)
    return True
