"""The supervisor binds, forks the workers, lets them go when all are ready, replaces the dead, and drains.

It runs no code of the user's (unless ``WORKER_PRELOAD`` asks for it) and no thread, so that it can fork at
any time and nothing the script does reaches it. Workers are forked, not spawned: the imports are paid once
and their memory shared.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from penstock_scorer.errors import AddressInUseError
from penstock_scorer.supervision import worker as worker_process
from penstock_scorer.supervision.child import Child, describe
from penstock_scorer.supervision.failure import Failure, publish
from penstock_scorer.supervision.sockets import GrpcAddresses, bind_tcp, bind_unix
from penstock_scorer.telemetry.logs import configure
from penstock_scorer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from penstock_scorer.contract.script import Script
    from penstock_scorer.settings import Settings

BOOT_FAILED = 3
"""Exit code when the script cannot be served."""
_MAX_BOOT_FAILURES = 5
"""Replacements that may fail to load in a row, with no other worker ready, before the scorer gives up."""
_BACKLOG = 2048
_KILL_AFTER_GRACE_S = 2.0
_MAX_BACKOFF_S = 30.0
_DESCRIPTORS = 65536
"""As many as a worker may have, where the system lets it: each connection is one."""


class Supervisor:
    """One scorer: its sockets and its workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics(settings.worker_count, settings.slots + worker_process.EXTRA_LANES)
        self._children: dict[int, Child] = {}
        self._replace_at: dict[int, float] = {}
        self._boot_failures = 0
        self._serving = False
        self._script: Script | None = None
        self._wake, self._wake_writer = socket.socketpair()
        self._signals = b""
        self._hang_after = (
            settings.scoring_timeout_ms / 1000
            + settings.worker_timeout_s
            + settings.drain_seconds
            + _KILL_AFTER_GRACE_S
        )
        self._listener: socket.socket
        self._health: socket.socket | None = None
        self._grpc: GrpcAddresses | None = None

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code.

        Raises:
            ScorerError: nothing was started: the address is taken, or a preloaded script cannot be served.
        """
        settings = self._settings
        configure(settings.log_level, (), as_json=settings.json_logs)
        allow_descriptors(_DESCRIPTORS)
        self._listener = bind_unix(settings.uds) if settings.uds else bind_tcp(settings.host, settings.port)
        try:
            self._health = bind_tcp(settings.host, settings.health_port) if settings.health_port else None
            self._grpc = GrpcAddresses(settings) if settings.grpc_addresses else None
            self._announce()
            self._catch_signals()
            if settings.model_dir:
                os.environ["AZUREML_MODEL_DIR"] = settings.model_dir
            if settings.preload:
                self._script, _ = worker_process.prepare(settings)
            for index in range(settings.worker_count):
                self._fork(index)
            return self._loop()
        finally:
            self._close()

    def _loop(self) -> int:
        stopping = False
        deadline = 0.0
        while True:
            self._wait(deadline if stopping else None)
            if self._stop_requested() and not stopping:
                stopping = True
                deadline = time.monotonic() + self._settings.drain_seconds + _KILL_AFTER_GRACE_S
                self._close()
                for child in self._children.values():
                    self._dismiss(child)
            failure = self._reap(stopping=stopping)
            if failure is not None:
                self._kill_all()
                publish(failure, self._settings.failure_file)
                return BOOT_FAILED
            if stopping:
                if not self._children:
                    return 0
                if time.monotonic() > deadline:
                    self._kill_all()
                    return 0
            else:
                self._kill_hung()
                self._replace()
                self._go()

    def _wait(self, deadline: float | None) -> None:
        """Until a worker speaks or dies, a signal comes, or a replacement is due."""
        now = time.monotonic()
        due = [now + self._hang_after / 10, *self._replace_at.values()] if deadline is None else [deadline]
        timeout = max(0.0, min(due) - now)
        children = {child.wire: child for child in self._children.values()}
        readable, _, _ = select.select([self._wake, *children], [], [], timeout)
        for source in readable:
            if source is self._wake:
                self._signals += self._wake.recv(4096)
            elif children[source].hear():
                self._boot_failures = 0
                if self._serving:
                    children[source].say(worker_process.GO)

    def _go(self) -> None:
        """Once: when every worker is ready, listen and let them accept."""
        if self._serving or len(self._children) < self._settings.worker_count:
            return
        if not all(child.ready for child in self._children.values()):
            return
        for listener in (self._listener, self._health):
            if listener is not None:
                try:
                    listener.listen(_BACKLOG)
                except OSError as error:
                    raise AddressInUseError(f"Cannot listen on {listener.getsockname()}: {error.strerror}.") from error
        self._serving = True
        for child in self._children.values():
            child.say(worker_process.GO)
        print(f"Ready at {self._settings.address}", flush=True)  # noqa: T201

    def _fork(self, index: int) -> None:
        supervisor = os.getpid()

        def be(wire: socket.socket) -> None:
            worker_process.work(
                worker_process.Place(
                    index, self._settings, self._metrics, self._listener, self._health, wire, supervisor, self._script
                )
            )

        others = [child.wire for child in self._children.values()]
        self._children[index] = Child(index, be, [*others, self._wake, self._wake_writer])

    def _reap(self, *, stopping: bool) -> Failure | None:
        """Take note of workers that ended; a failure when the scorer must give up."""
        for child in list(self._children.values()):
            code = child.reap()
            if code is None:
                continue
            del self._children[child.index]
            self._metrics.ended(child.index)
            if stopping:
                continue
            if child.ready:
                self._say(f"Worker {child.index} (pid {child.pid}) ended ({describe(code)}); replacing it.")
                self._replace_at[child.index] = time.monotonic()
                continue
            failure = child.failure(code, self._settings.entry_script.name)
            self._boot_failures += 1
            others_ready = any(other.ready for other in self._children.values())
            if not self._serving or (self._boot_failures >= _MAX_BOOT_FAILURES and not others_ready):
                return failure
            problem = f"{failure.message}\n{failure.traceback}".rstrip()
            self._say(f"A replacement for worker {child.index} failed: {problem}")
            backoff = min(_MAX_BACKOFF_S, 0.5 * 2**self._boot_failures)
            self._replace_at[child.index] = time.monotonic() + backoff
        return None

    def _kill_hung(self) -> None:
        """End workers that cannot end themselves: native code that keeps the interpreter's lock stops every thread.

        A worker notices by itself that ``run`` does not end, interrupts it, drains and leaves. One that is still
        in the same call after all that has no thread left to notice anything.
        """
        now = time.perf_counter()
        for child in self._children.values():
            since = self._metrics.running_since(child.index)
            if since is not None and now - since > self._hang_after:
                self._say(f"Worker {child.index} (pid {child.pid}) hangs in run() and does not answer; killing it.")
                child.kill()

    def _replace(self) -> None:
        now = time.monotonic()
        for index, due in list(self._replace_at.items()):
            if due <= now:
                del self._replace_at[index]
                self._fork(index)

    def _dismiss(self, child: Child) -> None:
        """Have it finish what it has. One that never answered has nothing, and may be minutes into its init()."""
        if self._serving and child.ready:
            child.terminate()
        else:
            child.kill()

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.kill()
            os.waitpid(child.pid, 0)
        self._children.clear()

    def _catch_signals(self) -> None:
        self._wake_writer.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def _stop_requested(self) -> bool:
        return any(number in self._signals for number in (signal.SIGTERM, signal.SIGINT))

    def _close(self) -> None:
        """Stop new connections: the socket's path goes first, so that none can enter a queue nobody reads."""
        if self._settings.uds is not None and self._listener.fileno() >= 0:
            self._settings.uds.unlink(missing_ok=True)
        self._listener.close()
        for held in (self._health, self._grpc):
            if held is not None:
                held.close()

    def _announce(self) -> None:
        print("Server settings")  # noqa: T201
        for name, value in self._settings.describe():
            print(f"  {name}: {value}")  # noqa: T201
        for note in self._settings.notes:
            print(f"  {note}")  # noqa: T201
        sys.stdout.flush()

    @staticmethod
    def _say(text: str) -> None:
        print(f"penstock-scorer: {text}", file=sys.stderr, flush=True)  # noqa: T201


def allow_descriptors(wanted: int) -> None:
    """Raise this process' limit, and that of those it forks, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # What is allowed already is enough for nearly everybody.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
