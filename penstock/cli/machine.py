"""The platform as processes and files on this machine: is it there, start it, stop it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from penstock.daemon import AlreadyRunningError, Daemon, DaemonState, StubbornError
from penstock.errors import PlatformError
from penstock.settings import PlatformFile

START_SECONDS = 60.0
"""The most a start may take; it takes a few seconds."""
STOP_SECONDS = 90.0
"""The most a stop may take: longer than the slowest request may, so that draining comes to its end."""
_POLL_SECONDS = 0.05
_LOG_LINES = 15


class Machine:
    """The platform whose state lies in ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._daemon = Daemon(home / "control-plane")
        self._log = home / "logs" / "control-plane.log"

    def running(self) -> PlatformFile | None:
        """What the running control plane says of itself; None when none runs."""
        found = PlatformFile.read(self.home)
        return found if found is not None and _is_control_plane(found.pid) else None

    def lost(self) -> bool:
        """Whether the control plane that said it runs is gone without a word, as after ``kill -9``."""
        found = PlatformFile.read(self.home)
        # Another process number space, as in a container that shares the home, shows no process and yet an answer.
        return found is not None and not _is_control_plane(found.pid) and not _answers(found.api)

    def check_free(self, gateway_port: int, api_port: int, tls_port: int | None = None) -> None:
        """Make the home, and see that nothing is in the way of a start.

        Raises:
            PlatformError: a platform runs on it, a port is taken, or the folder cannot be made.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._log.parent.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise PlatformError(f"{self.home} cannot be used: {error.strerror}", hint="--home names another") from None
        found = self.running()
        if found is not None or self._daemon.status().state is DaemonState.RUNNING:
            pid = found.pid if found is not None else self._daemon.status().pid
            raise PlatformError(
                f"a platform is already running on {self.home} (process {pid})",
                hint="`penstock down` stops it; --home starts another one beside it",
            )
        if self._nothing_runs():
            # Else they are our own gateway's, left by a killed control plane.
            _check_port(gateway_port, "--gateway-port")
            if tls_port is not None:
                _check_port(tls_port, "--tls-port")
        _check_port(api_port, "--api-port")

    def start(self, argv: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> PlatformFile:
        """Start the control plane detached and return once it is ready. Interrupted, it is stopped again.

        Raises:
            PlatformError: it ended, or was not ready in time; the detail is the end of its log.
        """
        begun = self._log.stat().st_size if self._log.exists() else 0
        try:
            pid = self._daemon.launch(argv, env=environment, cwd=self.home, log=self._log)
        except AlreadyRunningError as error:
            raise PlatformError(f"a platform is already running on {self.home} (process {error.pid})") from None
        except OSError as error:
            raise PlatformError(f"the control plane cannot be started: {error.strerror or error}") from None
        try:
            return self._until_ready(pid, begun, say)
        except BaseException:
            self._daemon.stop(STOP_SECONDS)
            raise

    def stop(self, sweep: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> bool:
        """Stop the control plane, then whatever a killed one may have left; whether anything ran.

        ``sweep`` is the command that does the latter.

        Raises:
            PlatformError: something is left; the detail says what.
        """
        try:
            return self._stop(sweep, environment, say)
        except StubbornError as error:
            raise PlatformError(str(error), hint=error.hint) from None

    def _stop(self, sweep: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> bool:
        found = self.running()
        ran, clean = found is not None or not self._nothing_runs(), False
        if found is not None:
            say("waiting for requests to end")
            clean = _terminate(found.pid)
        elif self._daemon.status().state is DaemonState.RUNNING:
            say("waiting for the control plane to end")  # it was still starting
            self._daemon.stop(STOP_SECONDS)
        # A control plane that ended as it was told to has left nothing, and looking again would take 3 s.
        if self.home.is_dir() and not (clean and self._nothing_runs()):
            say("making sure that nothing is left")
            swept = subprocess.run(sweep, env=dict(environment), capture_output=True, text=True, check=False)
            if swept.returncode != 0:
                sentence, detail = cause(swept.stderr or swept.stdout, "something of the platform is left")
                raise PlatformError(sentence, detail=detail)
            (self.home / "platform.json").unlink(missing_ok=True)
        self._daemon.kill()
        return ran

    def _nothing_runs(self) -> bool:
        """Whether none of the processes that the home describes runs: Envoy, instances."""
        records = (path for pattern in ("*", "*/*") for path in self.home.glob(f"{pattern}/daemon.json"))
        return all(Daemon(path.parent).status().state is not DaemonState.RUNNING for path in records)

    def _until_ready(self, pid: int, begun: int, say: Callable[[str], None]) -> PlatformFile:
        deadline = time.monotonic() + START_SECONDS
        while True:
            found = PlatformFile.read(self.home)
            if found is not None and found.pid == pid and _answers(found.api):
                return found
            if self._daemon.status().state is not DaemonState.RUNNING:
                sentence, detail = cause(self._log_end(begun), "the control plane ended while it started")
                raise PlatformError(sentence, detail=detail)
            if time.monotonic() > deadline:
                message = f"the control plane was not ready within {START_SECONDS:g} s"
                raise PlatformError(message, detail=self._log_end(begun))
            say("waiting for the gateway" if found else "waiting for the control plane")
            time.sleep(_POLL_SECONDS)

    def _log_end(self, begun: int) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(begun)
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-_LOG_LINES:])


def cause(told: str, otherwise: str) -> tuple[str, str]:
    """The sentence a control plane ended with (it starts with ``error:``) and no detail; else all that was said."""
    last = told.rstrip().rpartition("\n")[2]
    return (last.removeprefix("error: "), "") if last.startswith("error: ") else (otherwise, told)


def _check_port(port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise PlatformError(f"port {port} needs more rights than yours", hint=f"{flag} names another") from None
        except OSError:
            raise PlatformError(f"port {port} is in use by another program", hint=f"{flag} names another") from None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
            return True
    except (OSError, ValueError):
        return False


def _is_control_plane(pid: int) -> bool:
    """Whether this process is a control plane, and not another one that got its number after a reboot."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"controlplane" in words


def _terminate(pid: int) -> bool:
    """SIGTERM, and wait until it is gone; SIGKILL after :data:`STOP_SECONDS`. Whether it ended by itself.

    Raises:
        PlatformError: it is another user's.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_control_plane(pid):
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if poller.poll(STOP_SECONDS * 1000):
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller.poll(1000)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise PlatformError(f"process {pid} is another user's") from None
    else:
        return False
    finally:
        os.close(handle)
