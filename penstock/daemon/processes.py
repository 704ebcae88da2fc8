"""What Linux tells of processes, so that a pid that was given away again is never taken for ours.

A process is identified by boot, pid and start time; those who belong to it by session, by a token in their
environment, or by the lock file they hold open.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DEAD = "ZX"
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO_SIZE = 64
_EXIT_CODE_OFFSET = 60


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of ``/proc/PID/stat``. ``start`` is in clock ticks since boot."""

    pid: int
    state: str
    session: int
    start: int
    wait_status: int = 0
    """Of a zombie: what its parent will be told by ``wait``."""

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie does not."""
        return self.state not in _DEAD


@cache
def boot_id() -> str:
    """Differs after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat_of(pid: int) -> ProcessStat | None:
    """The process with this pid, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(
        pid=pid, state=fields[0], session=int(fields[3]), start=int(fields[19]), wait_status=int(fields[49])
    )


def same_and_alive(pid: int, start: int) -> bool:
    """Whether the process that had this pid and start time still runs."""
    found = stat_of(pid)
    return found is not None and found.start == start and found.alive


def everyone() -> Iterator[ProcessStat]:
    """Every process that runs now."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # paths would double the cost, and it is done in a loop
        if name.isdigit() and (found := stat_of(int(name))) is not None and found.alive:
            yield found


def carries(pid: int, token: str) -> bool:
    """Whether the environment the process was started with holds ``token``."""
    try:
        return token.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def holds_open(pid: int, path: Path) -> bool:
    """Whether the process has this file open."""
    wanted = path.resolve()
    try:
        return any(fd.readlink() == wanted for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def exit_code_of_anothers(pid: int, start: int, pidfd: int) -> int | None:
    """The exit code (negative: the signal) of an ended process that is not our child; None if it can't be known.

    It can until its parent reaps it, and from Linux 6.15 on also afterwards (``PIDFD_GET_INFO``).
    """
    found = stat_of(pid)
    if found is not None and found.start == start and not found.alive:
        return os.waitstatus_to_exitcode(found.wait_status)
    info = struct.pack("Q", _PIDFD_INFO_EXIT).ljust(_PIDFD_INFO_SIZE, b"\0")
    try:
        info = fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not struct.unpack_from("Q", info)[0] & _PIDFD_INFO_EXIT:
        return None
    return os.waitstatus_to_exitcode(struct.unpack_from("i", info, _EXIT_CODE_OFFSET)[0])
