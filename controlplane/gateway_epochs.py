"""The Envoys of one gateway: one, or two while a newer one takes over from an older (hot restart).

Each has a number, its restart epoch, and a folder of its own, ``epoch-N``, so that whoever comes next, this control
plane or another, finds what runs and knows which is the newest. Envoy hands the listening sockets over by itself;
nothing here needs to be alive for that.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from penstock.daemon import Daemon, DaemonState

_PREFIX = "epoch-"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One Envoy, running or ended."""

    number: int
    daemon: Daemon

    @property
    def pid(self) -> int:
        """Its process id, 0 when it does not run."""
        status = self.daemon.status()
        return status.pid if status.state is DaemonState.RUNNING else 0

    @property
    def replaced_on_disk(self) -> bool:
        """Whether the program it runs has been replaced since, by an upgrade."""
        try:
            return Path(f"/proc/{self.pid}/exe").readlink().name.endswith(" (deleted)")
        except OSError:
            return False


class EnvoyEpochs:
    """The epochs below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def running(self) -> list[Epoch]:
        """Those that run, the newest first."""
        return [epoch for epoch in self._all() if epoch.pid]

    def next(self) -> Epoch:
        """Where the next one goes: epoch 0 when nothing runs. Folders of those that have ended are removed."""
        found = self._all()
        newest = max((epoch.number for epoch in found if epoch.pid), default=-1)
        for epoch in found:
            if not epoch.pid:
                epoch.daemon.kill()  # what it left behind, which is nothing unless it was killed while it started
                shutil.rmtree(epoch.daemon.folder, ignore_errors=True)
        return self._epoch(newest + 1)

    def before(self, epoch: Epoch) -> Epoch:
        """The one that ``epoch`` replaced, which may have ended."""
        return self._epoch(epoch.number - 1)

    def _all(self) -> list[Epoch]:
        numbers = (path.name.removeprefix(_PREFIX) for path in self._folder.glob(f"{_PREFIX}*"))
        return [self._epoch(number) for number in sorted((int(n) for n in numbers if n.isdigit()), reverse=True)]

    def _epoch(self, number: int) -> Epoch:
        return Epoch(number, Daemon(self._folder / f"{_PREFIX}{number}"))


def client_connections(epoch: Epoch, newest: Epoch) -> int:
    """Connections that clients keep to ``epoch``, idle ones included, by the ports that ``newest`` listens on."""
    try:
        ports = {s.laddr.port for s in _sockets(newest) if s.status == psutil.CONN_LISTEN}
        return sum(s.status != psutil.CONN_LISTEN and s.laddr.port in ports for s in _sockets(epoch))
    except psutil.Error:
        return 0


def _sockets(epoch: Epoch) -> list[Any]:
    pid = epoch.pid
    return psutil.Process(pid).net_connections(kind="tcp") if pid else []
