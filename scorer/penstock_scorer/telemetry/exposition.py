"""``/metrics``: the shared counters in Prometheus' text format 0.0.4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_scorer import __version__
from penstock_scorer.telemetry.metrics import BATCH_BUCKETS, BUCKETS, Histogram, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HISTOGRAMS = {
    Histogram.REQUEST: (
        "penstock_scorer_request_duration_seconds",
        "From the request's arrival to its answer.",
    ),
    Histogram.QUEUE: ("penstock_scorer_queue_duration_seconds", "Waiting for a free slot."),
    Histogram.RUN: ("penstock_scorer_run_duration_seconds", "Inside the script's run()."),
    Histogram.BATCH: ("penstock_scorer_batch_size", "Requests in one call of a batched function."),
}


def render(metrics: Metrics) -> bytes:
    """The whole page, for every worker of this scorer."""
    return ("\n".join(_lines(metrics)) + "\n").encode()


def _lines(metrics: Metrics) -> Iterator[str]:
    totals = metrics.totals()
    yield from _header("penstock_scorer_requests_total", "counter", "Answers, by status code.")
    for code, count in totals.codes.items():
        yield f'penstock_scorer_requests_total{{code="{code}"}} {count:.0f}'
    yield from _header("penstock_scorer_errors_total", "counter", "Requests without a result, by kind.")
    for kind, count in totals.kinds.items():
        yield f'penstock_scorer_errors_total{{kind="{kind.name.lower()}"}} {count:.0f}'
    yield from _header("penstock_scorer_requests_in_flight", "gauge", "Requests waiting or running.")
    yield f"penstock_scorer_requests_in_flight {totals.in_flight:.0f}"
    for histogram, (name, text) in _HISTOGRAMS.items():
        yield from _header(name, "histogram", text)
        counts, seconds = totals.histograms[histogram]
        cumulative = 0.0
        bounds = BATCH_BUCKETS if histogram is Histogram.BATCH else BUCKETS
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            cumulative += count
            yield f'{name}_bucket{{le="{bound}"}} {cumulative:.0f}'
        yield f"{name}_sum {seconds!r}"
        yield f"{name}_count {cumulative:.0f}"
    yield from _workers(metrics)
    yield from _processes(metrics)


def _workers(metrics: Metrics) -> Iterator[str]:
    states = [metrics.worker(index) for index in range(metrics.workers)]
    yield from _header("penstock_scorer_workers_ready", "gauge", "Workers whose init() is done.")
    yield f"penstock_scorer_workers_ready {sum(ready for _, _, ready, _ in states)}"
    yield from _header("penstock_scorer_worker_restarts_total", "counter", "Workers replaced after they ended.")
    yield f"penstock_scorer_worker_restarts_total {sum(max(0, starts - 1) for *_, starts in states)}"
    yield from _header("penstock_scorer_init_duration_seconds", "gauge", "How long init() took.")
    for index, (_, seconds, _, _) in enumerate(states):
        yield f'penstock_scorer_init_duration_seconds{{worker="{index}"}} {seconds!r}'
    yield from _header("penstock_scorer_info", "gauge", "The scorer's version.")
    yield f'penstock_scorer_info{{version="{__version__}"}} 1'


def _processes(metrics: Metrics) -> Iterator[str]:
    tick = os.sysconf("SC_CLK_TCK")
    page = os.sysconf("SC_PAGE_SIZE")
    cpu, memory = [], []
    for index in range(metrics.workers):
        pid = metrics.worker(index)[0]
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        cpu.append(f'process_cpu_seconds_total{{worker="{index}"}} {(int(fields[11]) + int(fields[12])) / tick!r}')
        memory.append(f'process_resident_memory_bytes{{worker="{index}"}} {int(fields[21]) * page}')
    yield from _header("process_cpu_seconds_total", "counter", "User and system CPU time.")
    yield from cpu
    yield from _header("process_resident_memory_bytes", "gauge", "Resident memory.")
    yield from memory


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
