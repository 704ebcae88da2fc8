"""What instances use of the machine, from /proc: one pass over it, however many instances there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.metrics.figures import Usage

# Fields of /proc/PID/stat, counted from behind the command's closing parenthesis; see proc(5).
_SESSION, _UTIME, _CSTIME, _RSS = 3, 11, 14, 21


@dataclass(frozen=True, slots=True)
class Reading:
    """One session (an instance's process and all it started) at one moment."""

    ticks: int
    pages: int


def read_sessions(wanted: Collection[int], proc: Path = Path("/proc")) -> dict[int, Reading]:
    """The processor time and memory of each wanted session. Sessions without processes are left out."""
    found: dict[int, Reading] = {}
    if not wanted:
        return found
    for entry in os.scandir(proc):
        if not entry.name.isdecimal():
            continue
        try:
            text = Path(entry.path, "stat").read_text()
        except OSError:
            continue  # it ended meanwhile
        fields = text.rpartition(")")[2].split()
        session = int(fields[_SESSION])
        if session in wanted:
            # With the time of children that ended: else the sum would fall whenever a worker is replaced.
            ticks = sum(map(int, fields[_UTIME : _CSTIME + 1]))
            before = found.get(session, Reading(0, 0))
            found[session] = Reading(before.ticks + ticks, before.pages + int(fields[_RSS]))
    return found


class UsageMeter:
    """Turns readings into usage. The time between two calls of :meth:`take` is what percentages are about."""

    def __init__(
        self,
        read: Callable[[Collection[int]], Mapping[int, Reading]] = read_sessions,
        *,
        processors: int | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """The arguments are for tests; by default they are this machine's."""
        self._read = read
        self._processors = processors or os.cpu_count() or 1
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._memory = memory_bytes or os.sysconf("SC_PHYS_PAGES") * self._page
        self._second = os.sysconf("SC_CLK_TCK")
        self._before: dict[str, tuple[float, Reading]] = {}
        self._usage: dict[str, Usage] = {}

    def usage(self, instance: str) -> Usage | None:
        """As measured last; None for what has no processes."""
        return self._usage.get(instance)

    def take(self, pids: Mapping[str, int], now: float) -> None:
        """Measure. ``pids`` are the session leaders by instance, ``now`` monotonic seconds. Blocks on /proc."""
        readings = self._read(frozenset(pids.values()))
        usage: dict[str, Usage] = {}
        before: dict[str, tuple[float, Reading]] = {}
        for instance, pid in pids.items():
            reading = readings.get(pid)
            if reading is not None:
                usage[instance] = self._between(self._before.get(instance), reading, now)
                before[instance] = (now, reading)
        self._usage, self._before = usage, before

    def _between(self, before: tuple[float, Reading] | None, reading: Reading, now: float) -> Usage:
        percent = None
        if before is not None and now > before[0]:
            used = (reading.ticks - before[1].ticks) / self._second
            percent = min(100.0, max(0.0, 100 * used / (now - before[0]) / self._processors))
        memory = reading.pages * self._page
        return Usage(reading.ticks / self._second, memory, percent, 100 * memory / self._memory)
