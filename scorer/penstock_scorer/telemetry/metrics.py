"""Counters of every worker in one piece of shared memory, written without locks.

A scrape reaches any one worker and must speak for all of them, so the supervisor maps the memory before it
forks. Each thread that counts owns a *lane* (one row of doubles) and is its only writer: no lock, no lost
update, and a worker killed at any instruction leaves sums that can still be read. A worker that takes a dead
one's place goes on with its lanes, so counters never fall.
"""

from __future__ import annotations

import enum
import mmap
from bisect import bisect_left
from dataclasses import dataclass

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds; one more bucket has no bound."""
BATCH_BUCKETS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0, 1024.0)
"""Upper bounds of batch sizes."""
CODES = (200, 400, 401, 404, 405, 413, 415, 429, 431, 500, 503)
"""Status codes counted by name; the rest is ``other``."""


class ErrorKind(enum.IntEnum):
    """Why a request was not answered with a result."""

    BAD_INPUT = 0
    """The client sent what the script cannot take (400, 405, 413, 415, 431)."""
    UNAUTHORIZED = 1
    OVERLOADED = 2
    """Refused (429): the queue was full, or the request waited too long in it."""
    EXPIRED = 3
    """Dropped before it started: the caller's own deadline had passed."""
    SCRIPT = 4
    """``run`` raised, or answered 500 or above."""
    TIMEOUT = 5
    """``run`` took longer than the scoring timeout."""
    SERIALIZATION = 6
    """``run`` returned what JSON cannot hold."""
    INTERNAL = 7
    """A fault of the scorer itself."""
    DISCONNECTED = 8
    """The client left: before its body had arrived, while the request waited, or in the middle of a stream."""


class Histogram(enum.IntEnum):
    """What is timed."""

    REQUEST = 0
    QUEUE = 1
    RUN = 2
    BATCH = 3
    """Not a duration: requests in one call of a batched function."""


_OPENED, _CLOSED, _SINCE = range(3)
_CODE = 3
_KIND = _CODE + len(CODES) + 1
_HISTOGRAM = _KIND + len(ErrorKind)
_HISTOGRAM_SIZE = len(BUCKETS) + 2
_LANE = _HISTOGRAM + _HISTOGRAM_SIZE * len(Histogram)
_CODE_INDEX = {code: _CODE + index for index, code in enumerate(CODES)}
_OTHER_CODE = _CODE + len(CODES)
_PID, _INIT_SECONDS, _READY, _STARTS = range(4)
_WORKER_HEAD = 4


class Lane:
    """One thread's counters."""

    __slots__ = ("_base", "_cells", "_histograms")

    def __init__(self, cells: memoryview[float], base: int) -> None:
        self._cells = cells
        self._base = base
        self._histograms = [base + _HISTOGRAM + index * _HISTOGRAM_SIZE for index in range(len(Histogram))]

    def opened(self) -> None:
        """A request was admitted."""
        self._cells[self._base] += 1.0

    def closed(self) -> None:
        """An admitted request has been answered."""
        self._cells[self._base + _CLOSED] += 1.0

    def began(self, now: float) -> None:
        """Its thread is in the script from now on (monotonic seconds, the same in every process)."""
        self._cells[self._base + _SINCE] = now

    def ended(self) -> None:
        """Its thread has left the script."""
        self._cells[self._base + _SINCE] = 0.0

    def answered(self, status: int, seconds: float) -> None:
        """An answer went out, ``seconds`` after the request came in."""
        self._cells[self._base + _CODE_INDEX.get(status, _OTHER_CODE)] += 1.0
        self.observe(Histogram.REQUEST, seconds)

    def failed(self, kind: ErrorKind) -> None:
        """A request had no result."""
        self._cells[self._base + _KIND + kind] += 1.0

    def observe(self, histogram: Histogram, seconds: float) -> None:
        """Add a duration to a histogram."""
        cells, at = self._cells, self._histograms[histogram]
        cells[at + bisect_left(BUCKETS, seconds)] += 1.0
        cells[at + _HISTOGRAM_SIZE - 1] += seconds

    def merged(self, size: int) -> None:
        """A batched function was called with ``size`` requests."""
        cells, at = self._cells, self._histograms[Histogram.BATCH]
        cells[at + bisect_left(BATCH_BUCKETS, size)] += 1.0
        cells[at + _HISTOGRAM_SIZE - 1] += size


@dataclass(frozen=True)
class Totals:
    """Everything counted, summed over workers and lanes."""

    in_flight: float
    codes: dict[str, float]
    kinds: dict[ErrorKind, float]
    histograms: dict[Histogram, tuple[list[float], float]]
    """Bucket counts (not cumulative) and the sum of seconds."""


class Metrics:
    """The shared memory of one scorer.

    Args:
        workers: Number of worker processes.
        lanes: Threads that count, per worker.
    """

    def __init__(self, workers: int, lanes: int) -> None:
        self.workers = workers
        self._lanes = lanes
        self._worker_size = _WORKER_HEAD + lanes * _LANE
        self._cells = memoryview(mmap.mmap(-1, workers * self._worker_size * 8)).cast("d")

    def lane(self, worker: int, lane: int) -> Lane:
        """The counters of one thread of one worker."""
        return Lane(self._cells, self._lane_base(worker, lane))

    def started(self, worker: int, pid: int) -> None:
        """A process took this worker's place: what its predecessor had in flight is gone."""
        head = worker * self._worker_size
        self._cells[head + _PID] = pid
        self._cells[head + _READY] = 0
        self._cells[head + _STARTS] += 1
        for lane in range(self._lanes):
            base = self._lane_base(worker, lane)
            self._cells[base + _OPENED] = self._cells[base + _CLOSED] = self._cells[base + _SINCE] = 0

    def ready(self, worker: int, init_seconds: float) -> None:
        """The worker's ``init`` is done."""
        head = worker * self._worker_size
        self._cells[head + _INIT_SECONDS] = init_seconds
        self._cells[head + _READY] = 1

    def ended(self, worker: int) -> None:
        """The worker's process is gone."""
        self.started(worker, 0)
        self._cells[worker * self._worker_size + _STARTS] -= 1

    def worker(self, worker: int) -> tuple[int, float, bool, int]:
        """A worker's pid (0: none), seconds its ``init`` took, whether it is ready, how often it was started."""
        pid, seconds, ready, starts = self._cells[worker * self._worker_size :][:_WORKER_HEAD].tolist()
        return int(pid), seconds, bool(ready), int(starts)

    def running_since(self, worker: int) -> float | None:
        """When the oldest call of the script that still runs in this worker began; None when none runs."""
        cells = (self._cells[self._lane_base(worker, lane) + _SINCE] for lane in range(self._lanes))
        return min((since for since in cells if since), default=None)

    def totals(self) -> Totals:
        """Sum everything."""
        row = [0.0] * _LANE
        for worker in range(self.workers):
            for lane in range(self._lanes):
                base = self._lane_base(worker, lane)
                for index, value in enumerate(self._cells[base : base + _LANE].tolist()):
                    row[index] += value
        names = [*map(str, CODES), "other"]
        histograms = {}
        for histogram in Histogram:
            at = _HISTOGRAM + histogram * _HISTOGRAM_SIZE
            histograms[histogram] = (row[at : at + _HISTOGRAM_SIZE - 1], row[at + _HISTOGRAM_SIZE - 1])
        return Totals(
            in_flight=max(0.0, row[_OPENED] - row[_CLOSED]),
            codes=dict(zip(names, row[_CODE:_KIND], strict=True)),
            kinds={kind: row[_KIND + kind] for kind in ErrorKind},
            histograms=histograms,
        )

    def _lane_base(self, worker: int, lane: int) -> int:
        return worker * self._worker_size + _WORKER_HEAD + lane * _LANE
