"""One long-lived process, seen through the folder that describes it.

The order of a launch is what makes it safe against ``kill -9`` of the launcher at any line:

1. the lock is taken by the launcher and the record written, without a pid;
2. the process is started as the leader of a session of its own. It inherits the lock, so from the first moment there
   is no instant at which it runs and the lock is free;
3. its pid and start time are recorded, and the launcher lets go of its own copy of the lock.

Killed before 2: nothing runs and the lock is free. Killed after 2: the lock is held, and the successor finds the
process by it. In neither case can a second one be started. Measured: 2 ms for a launch (an intermediate Python
launcher would take 15 ms more, and could only do the same).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from penstock.daemon import lock, processes, record
from penstock.daemon.record import DaemonRecord
from penstock.daemon.start import start_child, start_orphan

TOKEN_VARIABLE = "PENSTOCK_DAEMON"
"""The environment variable by which what the process starts is recognised, also when it leaves the session."""
_POLL_SECONDS = 0.01
_FIND_SECONDS = 1.0
_KILL_SECONDS = 10.0
_ENDING = threading.Lock()
"""An exit code can be collected once; whoever collects it writes it down before anybody else looks."""


class DaemonState(StrEnum):
    """Whether it runs."""

    ABSENT = "absent"
    """Never started, or forgotten."""
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What is known of it now. ``exit_code`` is negative for a signal, and None if unknown or not ended."""

    state: DaemonState
    pid: int = 0
    exit_code: int | None = None


class AlreadyRunningError(Exception):
    """It runs already; nothing was started."""

    reason = "AlreadyRunning"
    hint = "Stop it first."

    def __init__(self, folder: Path, pid: int) -> None:
        super().__init__(f"already running (pid {pid}, {folder})" if pid else f"already being started ({folder})")
        self.pid = pid


class StubbornError(Exception):
    """Some of its processes did not die of SIGKILL (they hang in the kernel, on a dead disk or network mount)."""

    reason = "Stubborn"
    hint = "The kernel's log says on what; mend that, or restart the machine."

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(f"SIGKILL did not end process {', '.join(map(str, pids))}: it hangs in the kernel")
        self.pids = tuple(pids)


class Daemon:
    """A process described by ``folder``: ``daemon.json``, ``lock`` and, unless told otherwise, ``log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record_path = folder / "daemon.json"
        self._lock_path = folder / "lock"

    def launch(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str = "/",
        log: Path | None = None,
        orphan: bool = False,
    ) -> int:
        """Start ``argv`` as the leader of a session of its own, its output appended to ``log``; returns its pid.

        What an earlier launch from this folder left behind is killed first. ``env`` is the whole environment.
        ``orphan``: as nobody's child, for a program that asks the kernel to end it with its parent; takes longer.

        Raises:
            AlreadyRunningError: it runs.
            OSError: the program or ``cwd`` does not exist, the disk is full, ...; nothing runs then.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = self.status()
        if status.state is DaemonState.RUNNING:
            raise AlreadyRunningError(self.folder, status.pid)
        self.kill()
        held = lock.acquire(self._lock_path)
        if held is None:
            raise AlreadyRunningError(self.folder, 0)
        try:
            return self._spawn(held, argv, env, cwd, log or self.folder / "log", orphan=orphan)
        finally:
            os.close(held)

    def status(self) -> DaemonStatus:
        """What it does now. Collects the exit code of a child of ours, so that no zombie stays."""
        known = self._known()
        if known is None:
            return DaemonStatus(DaemonState.ABSENT)
        if _runs(known):
            return DaemonStatus(DaemonState.RUNNING, pid=known.pid)
        return DaemonStatus(DaemonState.ENDED, pid=known.pid, exit_code=self._exit_code(known))

    @property
    def started(self) -> float:
        """When it was started, in seconds since the epoch; 0 if it was not, or before this boot of the machine."""
        known = self._known()
        if known is None or not known.pid or known.boot != processes.boot_id():
            return 0.0
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + known.start / os.sysconf("SC_CLK_TCK")

    @property
    def argv(self) -> tuple[str, ...]:
        """What it was started with last; empty if it never was."""
        known = record.load(self._record_path)
        return known.argv if known is not None else ()

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the leader alone. False if it does not run."""
        with self._pidfd() as pidfd:
            if pidfd is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            return True

    def kill(self) -> None:
        """SIGKILL it and everything it started, and return when nothing of it is left.

        Raises:
            StubbornError: something is left after 10 s.
        """
        deadline = time.monotonic() + _KILL_SECONDS
        while members := self._members():
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise StubbornError(members)
            time.sleep(_POLL_SECONDS)
        if self.status().state is DaemonState.ENDED and (known := record.load(self._record_path)) is not None:
            # From here on the session's number may be somebody else's.
            record.save(self._record_path, replace(known, swept=True))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the leader has ended, at most ``timeout`` seconds; whether it has."""
        with self._pidfd() as pidfd:
            if pidfd is None:
                return True
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if not poller.poll(None if timeout is None else timeout * 1000):
                return False
            self._note_end(pidfd)
            return True

    async def ended(self) -> None:
        """Return when the leader has ended; at once if it does not run. Costs nothing while it waits."""
        with self._pidfd() as pidfd:
            if pidfd is None:
                return
            import asyncio  # noqa: PLC0415  # 20 ms that the command line, which never waits so, need not pay

            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(pidfd, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(pidfd)
            self._note_end(pidfd)

    def stop(self, grace: float) -> None:
        """SIGTERM, up to ``grace`` seconds to finish, then :meth:`kill`, which also ends what the leader left."""
        if self.signal(signal.SIGTERM):
            self.wait(grace)
        self.kill()

    async def stop_async(self, grace: float) -> None:
        """As :meth:`stop`, without blocking the event loop."""
        import asyncio  # noqa: PLC0415  # as above

        if self.signal(signal.SIGTERM):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self.ended()
        await asyncio.to_thread(self.kill)

    def _spawn(
        self, held: int, argv: Sequence[str], env: Mapping[str, str], cwd: Path | str, log: Path, *, orphan: bool
    ) -> int:
        token = os.urandom(8).hex()
        known = DaemonRecord(argv=tuple(argv), cwd=str(cwd), token=token, boot=processes.boot_id())
        record.save(self._record_path, known)
        start = start_orphan if orphan else start_child
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                pid = start(argv, env={**env, TOKEN_VARIABLE: token}, cwd=cwd, output=output, inherited=held)
            finally:
                os.close(output)
        except OSError:
            self._record_path.unlink()
            raise
        started = processes.stat_of(pid)
        # A child that was not waited for is at least a zombie; an orphan may be gone already.
        record.save(self._record_path, replace(known, pid=pid, start=started.start if started else 0))
        return pid

    def _known(self) -> DaemonRecord | None:
        known = record.load(self._record_path)
        return self._find(known) if known is not None and not known.pid else known

    def _find(self, known: DaemonRecord) -> DaemonRecord | None:
        """The launcher was killed after the start and before it recorded the pid: find it by the lock."""
        deadline = time.monotonic() + _FIND_SECONDS
        while known.boot == processes.boot_id() and lock.is_held(self._lock_path):
            newer = record.load(self._record_path)
            if newer is not None and (newer.pid or newer.token != known.token):
                return newer  # another process is launching it right now, and has just recorded it
            for process in processes.everyone():
                if process.session == process.pid and processes.carries(process.pid, known.token):
                    found = replace(known, pid=process.pid, start=process.start)
                    record.save(self._record_path, found)
                    return found
            if time.monotonic() > deadline:
                return known  # its leader ended unseen: what holds the lock are its orphans
            time.sleep(_POLL_SECONDS)
        return None

    def _members(self) -> list[int]:
        known = record.load(self._record_path)
        if known is None or known.swept or known.boot != processes.boot_id():
            return []
        leader = processes.stat_of(known.pid) if known.pid else None
        # A session's number is not given away while anybody is in it; if the pid is another's now, so is the session.
        session = known.pid if leader is None or leader.start == known.start else 0
        return [
            process.pid
            for process in processes.everyone()
            if process.pid != os.getpid()
            and (
                (session and process.session == session and process.start >= known.start)
                or processes.carries(process.pid, known.token)
            )
        ]

    @contextlib.contextmanager
    def _pidfd(self) -> Iterator[int | None]:
        """A descriptor of the leader that can only ever mean the leader, or None if it does not run."""
        known = self._known()
        if known is None or not _runs(known):
            yield None
            return
        try:
            pidfd = os.pidfd_open(known.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # The pid may have changed hands between the look and the opening; not any more after it.
            yield pidfd if _runs(known) else None
        finally:
            os.close(pidfd)

    def _note_end(self, pidfd: int) -> None:
        """Learn the exit code: of a child by reaping it, of another's child from the kernel, once it was reaped."""
        deadline = time.monotonic() + _POLL_SECONDS
        while self.status().exit_code is None and time.monotonic() < deadline:
            with _ENDING:
                known = record.load(self._record_path)
                if known is None:
                    return
                code = processes.exit_code_of_anothers(known.pid, known.start, pidfd)
                if code is not None:
                    record.save(self._record_path, replace(known, exit_code=code))
            time.sleep(_POLL_SECONDS / 10)

    def _exit_code(self, known: DaemonRecord) -> int | None:
        with _ENDING:
            known = record.load(self._record_path) or known
            if known.exit_code is None and (code := _reap(known)) is not None:
                known = replace(known, exit_code=code)
                record.save(self._record_path, known)
            return known.exit_code


def _runs(known: DaemonRecord) -> bool:
    return bool(known.pid) and known.boot == processes.boot_id() and processes.same_and_alive(known.pid, known.start)


def _reap(known: DaemonRecord) -> int | None:
    """Collect the exit code if it is an ended child of ours; of another's child nothing is learned here."""
    found = processes.stat_of(known.pid) if known.pid and known.boot == processes.boot_id() else None
    if found is None or found.alive or found.start != known.start:
        return None
    try:
        pid, status = os.waitpid(known.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None
