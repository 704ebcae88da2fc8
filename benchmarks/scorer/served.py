"""A server under measurement: started on its core, timed until it answers, weighed, and ended with all its children."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ENVIRON = {
    **os.environ,
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "NO_COLOR": "1",
}  # fmt: skip
_PR_SET_CHILD_SUBREAPER = 36


class NotServingError(Exception):
    """The server ended, or did not answer in time; the message is the end of its output."""


def adopt_orphans() -> None:
    """Become the parent of what a server leaves behind, so that it is weighed and ended with the rest."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Served:
    """A running server; ``with`` starts and ends it. Only one at a time, after :func:`adopt_orphans`.

    Args:
        command: What to run, with the prefix that pins it.
        folder: Where.
        port: Where it is going to listen.
        request: Method, path and body of a request that it answers with 200 once it serves.
        patience: Seconds until it must.
    """

    def __init__(
        self, command: list[str], folder: Path, port: int, request: tuple[str, str, bytes], patience: float = 90
    ) -> None:
        self._command = command
        self._folder = folder
        self._port = port
        self._request = request
        self._patience = patience
        self.start_up = 0.0
        """Seconds from the start to the first good answer."""

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile(dir="/tmp")
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, env=ENVIRON, stdout=self._output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - begun > self._patience:
                self._output.seek(0)
                said = self._output.read().decode(errors="replace").strip().splitlines()[-3:]
                self.__exit__(None, None, None)
                raise NotServingError(" | ".join(said) or "it said nothing")
            time.sleep(0.005)
        self.start_up = time.perf_counter() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        while left := descendants():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            _reap()
        self._output.close()

    def cpu_us(self) -> float:
        """CPU time of all its processes so far, microseconds."""
        ticks = 0
        for pid in descendants():
            fields = _stat(pid)
            ticks += sum(int(field) for field in fields[11:15]) if fields else 0
        return ticks * 1e6 / os.sysconf("SC_CLK_TCK")

    def pss_mib(self) -> float:
        """Proportional set size of all its processes, MiB."""
        total = 0
        for pid in descendants():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
        return total / 1024

    def _answers(self) -> bool:
        method, path, body = self._request
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def descendants() -> list[int]:
    """Every process below this one that still runs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))) and fields[0] != "Z":
            parents[int(entry.name)] = int(fields[1])
    found, new = set[int](), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    time.sleep(0.02)
