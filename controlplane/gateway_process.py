"""The Envoy of this machine: started, adopted, watched, replaced, drained.

It outlives the control plane, so a control plane that starts looks for one that runs already and takes it over; its
clients notice nothing. One that ends by itself is started again. One that is to be another (upgraded, or with other
settings) is replaced by a hot restart: the new one takes the listening sockets over, the old one finishes what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog

from controlplane.access_log import AccessLog
from controlplane.domain.backoff import Backoff
from controlplane.gateway_epochs import EnvoyEpochs, Epoch, client_connections
from gateway.admin import Admin, AdminUnreachableError, ServerInfo
from gateway.bootstrap import bootstrap, write_bootstrap
from gateway.envoy import PARENT_SECONDS, PortInUseError, check_port, envoy_argv, find_envoy, parent_socket
from gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

FIGURES = ("http.gateway.downstream_cx_active", "access_logs.open_telemetry_access_log.logs_dropped")
RESTART_SECONDS = 30.0
"""The most that a new Envoy may take to have its configuration; 5,000 endpoints take about 4."""
_POLL_SECONDS = 0.02
_PORT_SECONDS = 1.0
_RESTART_POLL_SECONDS = 1.0


class GatewayNotReadyError(Exception):
    """Envoy did not become ready in time."""

    reason = "GatewayNotReady"
    hint = "The gateway's log is gateway/log under PENSTOCK_HOME."


class HotRestartError(Exception):
    """The new Envoy could not take over; the one that served goes on serving."""

    reason = "HotRestartFailed"
    hint = "What served before still does. The gateway's log is gateway/log under PENSTOCK_HOME."


class RestartUnderWayError(HotRestartError):
    """A former Envoy still finishes what it has. A third one would make it end at once."""

    reason = "HotRestartUnderWay"
    hint = "Try again in a moment: it stays as long as the slowest request of any endpoint may take, and 11 s."


class GatewayProcess:
    """Keeps one Envoy running by the records below ``folder``."""

    def __init__(
        self,
        folder: Path,
        settings: GatewaySettings,
        *,
        environment: Mapping[str, str],
        backoff: Backoff,
        random_source: random.Random,
        longest_request_s: Callable[[], float] = lambda: PARENT_SECONDS,
    ) -> None:
        """``longest_request_s`` tells how long the slowest request of any endpoint may take."""
        self._longest_request_s = longest_request_s
        self._folder = folder
        self._settings = settings
        self._environment = environment
        self._backoff = backoff
        self._random = random_source
        self._admin = Admin(settings.admin_socket)
        self._binary = find_envoy()
        self._epochs = EnvoyEpochs(folder)
        self._restarting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._adopted = False

    @property
    def pid(self) -> int:
        """The process id of the Envoy that takes connections, 0 when none runs."""
        return next((epoch.pid for epoch in self._epochs.running()), 0)

    async def figures(self) -> tuple[int, int] | None:
        """Client connections open, and log lines it lost; None when it does not answer."""
        try:
            connections, lost = await self._admin.stats(*FIGURES)
        except AdminUnreachableError:
            return None
        return connections, lost

    async def start(self) -> None:
        """Adopt the Envoy that runs, or start one; then keep it running. One that is not as wanted is replaced.

        Raises:
            EnvoyNotFoundError: there is no binary.
            PortInUseError: somebody else holds the port; nothing was started.
        """
        running = self._epochs.running()
        if running:
            self._adopted = True
            log.info("adopted the gateway that runs", pid=running[0].pid)
            if running[0].number:
                self._spawn(self._retire(self._epochs.before(running[0])), "gateway-retire")
        else:
            for port in filter(None, (self._settings.listen_port, self._settings.tls_port)):
                await self._until_free(port)
            running = [self._launch()]
        self._watch_over(running[0])
        self._spawn(AccessLog(self._settings.access_log, self._admin.reopen_logs).keep_small(), "gateway-logs")
        if self._adopted and self._is_outdated(running[0]):
            self._spawn(self._replace(), "gateway-replace")

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
            # An adopted one whose successor failed to take over has lost its admin socket, and serves.
            if not (self._adopted and self.pid):
                message = f"the gateway is not ready after {timeout:.0f} s: {self._last_words()}"
                raise GatewayNotReadyError(message) from None
            log.warning("the adopted gateway does not answer on its admin socket", pid=self.pid)

    async def restart(self, timeout: float = RESTART_SECONDS) -> ServerInfo:
        """Replace Envoy by a new one that takes over, and return once it serves; no request is lost.

        The former one finishes what it has in flight, for as long as the slowest request may take and 11 s.

        Raises:
            RestartUnderWayError: a former restart is not through yet.
            HotRestartError: the new one did not come up.
        """
        async with self._restarting:
            running = self._epochs.running()
            if not running:
                raise HotRestartError("the gateway does not run, and is being started")
            if len(running) > 1:
                raise RestartUnderWayError("the gateway was restarted a moment ago, and its predecessor still finishes")
            fresh = self._launch()
            info = await self._taken_over(fresh, timeout)
            log.info("a new gateway has taken over", pid=fresh.pid, epoch=fresh.number, version=info.version)
            self._watch_over(fresh)
            self._spawn(self._retire(running[0]), "gateway-retire")
            return info

    async def close(self) -> None:
        """Stop watching; Envoy goes on."""
        tasks = [*self._tasks, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def abandon(self) -> None:
        """Stop watching, and end Envoy if it was started here rather than adopted."""
        watched = self._watch is not None
        await self.close()
        if watched and not self._adopted:
            await self._end_all(1.0)

    async def stop(self) -> None:
        """Let Envoy finish what it has, then end it."""
        await self.close()
        with contextlib.suppress(AdminUnreachableError, TimeoutError):
            await self._admin.drain()
            async with asyncio.timeout(self._settings.drain_seconds):
                while await self._admin.active_requests():
                    await asyncio.sleep(_POLL_SECONDS)
        running = self._epochs.running()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while any(client_connections(older, running[0]) for older in running[1:]):
                    await asyncio.sleep(_POLL_SECONDS)
        # Envoy ends at once on SIGTERM; what it had to finish is finished.
        await self._end_all(5.0)

    async def _until_free(self, port: int) -> None:
        """Wait a moment for the port: of an Envoy that was just killed, some threads may still hold its sockets.

        Raises:
            PortInUseError: somebody holds it for longer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PORT_SECONDS
        while True:
            try:
                check_port(self._settings.listen_address, port)
            except PortInUseError:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    async def _replace(self) -> None:
        """Restart as soon as a former restart is through."""
        while True:
            try:
                await self.restart()
            except RestartUnderWayError:
                await asyncio.sleep(_RESTART_POLL_SECONDS)
            except (HotRestartError, OSError) as error:
                log.exception("the gateway goes on as it was started", reason=str(error))
                return
            else:
                return

    async def _end_all(self, grace: float) -> None:
        await asyncio.gather(*(epoch.daemon.stop_async(grace) for epoch in self._epochs.running()))

    def _launch(self) -> Epoch:
        write_bootstrap(self._settings)
        epoch = self._epochs.next()
        argv = envoy_argv(self._settings, self._binary, epoch.number, self._parent_seconds())
        # With hot restart enabled Envoy asks the kernel to be ended with its parent (PR_SET_PDEATHSIG).
        pid = epoch.daemon.launch(
            argv, env=dict(self._environment), cwd=self._folder, log=self._folder / "log", orphan=True
        )
        log.info("started the gateway", pid=pid, port=self._settings.listen_port, epoch=epoch.number)
        return epoch

    async def _taken_over(self, fresh: Epoch, timeout: float) -> ServerInfo:
        """Wait until ``fresh`` serves. From then on it tells its predecessor to stop accepting."""
        try:
            async with asyncio.timeout(timeout):
                while fresh.pid:
                    with contextlib.suppress(AdminUnreachableError):
                        info = await self._admin.info()
                        if info.epoch == fresh.number and info.live:
                            return info
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            await fresh.daemon.stop_async(1.0)
        raise HotRestartError(f"the new gateway did not take over: {self._last_words()}")

    def _is_outdated(self, epoch: Epoch) -> bool:
        """Whether the Envoy that runs is another one, or was started otherwise, than we would start it."""
        try:
            written = json.loads(self._settings.bootstrap_file.read_bytes())
        except (OSError, ValueError):
            return True
        wanted = json.loads(json.dumps(bootstrap(self._settings)))
        argv = envoy_argv(self._settings, self._binary)
        return bool(written != wanted or _lasting(epoch.daemon.argv) != _lasting(argv) or epoch.replaced_on_disk)

    def _parent_seconds(self) -> int:
        """How long the one that is replaced stays: until its slowest request is answered and drained."""
        return min(PARENT_SECONDS, self._settings.drain_seconds + math.ceil(self._longest_request_s()) + 1)

    def _watch_over(self, epoch: Epoch) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.create_task(self._keep_running(epoch), name="gateway")

    async def _keep_running(self, epoch: Epoch) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            born = loop.time()
            await epoch.daemon.ended()
            failures = 1 if loop.time() - born > self._backoff.cap else failures + 1
            log.error("the gateway ended by itself and is started again", reason=self._last_words())
            # A predecessor that still finishes requests has stopped listening; a fresh start needs its number.
            await self._end_all(1.0)
            await asyncio.sleep(self._backoff.delay(failures - 1, self._random) if failures > 1 else 0)
            try:
                epoch = self._launch()
            except OSError as error:
                log.exception("the gateway cannot be started, and will be tried again", reason=str(error))

    async def _retire(self, older: Epoch) -> None:
        """Wait until a replaced Envoy has ended; its successor ends it, once the slowest request is answered.

        Nobody else may: Envoy 1.40 aborts when it cannot tell its parent to end. Should that die before its time, a
        socket in its place keeps its successor alive.
        """
        await older.daemon.ended()
        path = parent_socket(self._settings, older.number)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
            place.bind(str(path))
            log.info("the replaced gateway has ended", epoch=older.number)
            await asyncio.Event().wait()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it left no log"
        return lines[-1] if lines else "it said nothing"


def _lasting(argv: Sequence[str]) -> list[str]:
    """A command line without what differs between restarts."""
    passing = {"--restart-epoch", "--parent-shutdown-time-s"}
    return [word for before, word in pairwise(("", *argv)) if before not in passing]
