"""What the gateways' signals cost the control plane: ``python -m benchmarks.gateway.bench_signals``.

Processor time of this process alone, so that a busy machine disturbs little.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime

from envoy.service.load_stats.v3 import lrs_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from controlplane.metrics.figures import DeploymentFigures, EndpointFigures, GatewayFigures, PlatformFigures
from controlplane.metrics.page import page
from gateway.access_logs import decode
from gateway.load_reports import _decode
from gateway.signals import Signals

CLUSTERS = 10_000
BATCH = 1_000
"""Requests in one export: 5,000 requests/s, flushed every 0.2 s."""


def lines(number: int, clusters: int, seed: int) -> list[str]:
    """Requests with latencies as of a model: log-normal around 20 ms."""
    chance = random.Random(seed)
    return [f"e{chance.randrange(clusters)}/blue 200 {int(chance.lognormvariate(9.9, 0.5))} 200" for _ in range(number)]


def export(batch: list[str]) -> bytes:
    """What Envoy sends."""
    message = logs_service_pb2.ExportLogsServiceRequest()
    records = message.resource_logs.add().instrumentation_library_logs.add().logs
    for line in batch:
        record = records.add(time_unix_nano=1_795_221_066_553_601_000)
        record.body.string_value = line
    return bytes(message.SerializeToString())


def report(clusters: int, busy: int) -> bytes:
    """A load report in which ``busy`` clusters have load on two hosts."""
    message = lrs_pb2.LoadStatsRequest()
    for number in range(clusters):
        stats = message.cluster_stats.add(cluster_name=f"e{number}/blue")
        stats.load_report_interval.seconds = 1
        if number < busy:
            locality = stats.upstream_locality_stats.add(total_requests_in_progress=4, total_successful_requests=50)
            for host in range(2):
                entry = locality.upstream_endpoint_stats.add(total_requests_in_progress=2)
                entry.address.pipe.path = f"/run/penstock/instances/{number}-{host}.sock"
    return bytes(message.SerializeToString())


def cost(work: Callable[[], object], times: int) -> float:
    """Processor seconds of one call; the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - begun) / times)
    return best


def main() -> None:
    """Print the figures."""
    one = export(lines(BATCH, 10, 1))
    signals = Signals(lambda _e, _d: True)
    each = cost(lambda: signals.requests.record(decode(one)), 50) / BATCH
    print(f"request: {each * 1e6:.2f} us, {len(one) / BATCH:.0f} bytes; at 5,000/s {each * 5000:.1%} of a core")

    wire = report(CLUSTERS, 500)
    each = cost(lambda: dict(_decode(lrs_pb2.LoadStatsRequest.FromString(wire))), 5)
    print(f"load report of {CLUSTERS} clusters, 500 busy: {each * 1e3:.1f} ms, {len(wire) / 1000:.0f} kB; {each:.1%}/s")

    tracemalloc.start()
    full = Signals(lambda _e, _d: True)
    full.requests.record(lines(300_000, CLUSTERS, 2))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    kept = len(full.requests)
    print(f"memory: {used / 1e6:.0f} MB for {kept} deployments after 5,000 requests/s for a minute")
    print(f"pruning: {cost(full.prune, 3) * 1e3:.1f} ms for {kept} deployments, every 5 s")

    def whole() -> int:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        endpoints = []
        for number in range(CLUSTERS):
            requests = full.requests.requests(f"e{number}", "blue")
            deployment = DeploymentFigures(f"e{number}", "blue", requests, None, ())
            refused = full.requests.requests(f"e{number}")
            endpoints.append(EndpointFigures(f"e{number}", now, (deployment,), refused, 1))
        figures = PlatformFigures("1", now, tuple(endpoints), GatewayFigures(1, {}))
        return sum(len(piece) for piece in page(figures))

    print(f"page of {CLUSTERS} deployments: {cost(whole, 1):.2f} s, {whole() / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
