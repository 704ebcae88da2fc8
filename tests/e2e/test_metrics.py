"""Metrics across the death of what makes them."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.platform import Platform


def value(platform: Platform, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{platform.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_metrics_go_on_after_the_control_plane_is_killed(fresh_platform: Platform) -> None:
    platform = fresh_platform
    platform.start()
    platform.cli("online-endpoint", "create", "-n", "house")
    key = platform.key("house")

    def send(times: int) -> None:
        for _ in range(times):
            assert platform.score("house", {}, key=key).status == 404  # nothing behind it, and so no traffic

    def refused() -> float:
        return value(platform, "penstock_requests_total", endpoint="house", code="404")

    send(3)
    until(lambda: refused() == 3)
    assert value(platform, "penstock_gateways_connected") == 1
    platform.kill()
    send(2)
    platform.start()
    send(4)
    # Counters begin again, as Prometheus expects of a process that was restarted; what was missed is known.
    until(lambda: refused() >= 4)
    assert refused() + value(platform, "penstock_gateway_lost_requests_total") == 6
    metrics = platform.json("online-endpoint", "metrics", "-n", "house")
    assert metrics["refused"]["outcomes"][0]["total"] == refused()
    platform.cli("online-endpoint", "delete", "-n", "house", "--yes")
    send_to = platform.score("house", {}, key=key)
    assert send_to.status == 404
    until(lambda: value(platform, "penstock_gateway_unrouted_requests_total", code="404") >= 1)
    assert refused() == 0, "an endpoint's metrics go with it"
