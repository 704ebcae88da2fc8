"""The Prometheus page, read back by Prometheus' own parser."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from controlplane.domain.instances import InstanceState
from controlplane.metrics.figures import (
    DeploymentFigures,
    EndpointFigures,
    GatewayFigures,
    InstanceFigures,
    PlatformFigures,
    Usage,
)
from controlplane.metrics.page import page
from gateway.load import DeploymentLoad, Load
from gateway.traffic import Outcome, Traffic

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def figures() -> PlatformFigures:
    blue, refused, nothing = Traffic(0.0), Traffic(0.0), Traffic(0.0)
    for milliseconds in range(1, 101):
        blue.record(0, Outcome(200, 200), milliseconds * 1000)
    blue.record(0, Outcome(424, 500), 200_000_000)
    refused.record(0, Outcome(401, 0), 10)
    instances = (
        InstanceFigures("one", InstanceState.READY, 3, Usage(12.5, 1 << 20, 25.0, 0.5)),
        InstanceFigures("two", InstanceState.STARTING, None, Usage(0.0, 1 << 10)),
        InstanceFigures("new", InstanceState.PENDING),
    )
    load = DeploymentLoad(Load(3, 1, 1, 0), {}, Load(0, 9, 8, 1), 1)
    deployments = (
        DeploymentFigures("house", "blue", blue.figures(1.0), load, instances),
        DeploymentFigures("house", "green", nothing.figures(1.0), None, ()),
    )
    endpoint = EndpointFigures("house", NOW, deployments, refused.figures(1.0), 1)
    return PlatformFigures("1.2.3", NOW, (endpoint,), GatewayFigures(2, {404: 7}, 11, 4))


def samples(told: PlatformFigures) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = list(text_string_to_metric_families("".join(page(told))))
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert len({family.name for family in families}) == len(families), "a family's samples must stand together"
    found: list[Sample] = [sample for family in families for sample in family.samples]
    keys = [(sample.name, frozenset(sample.labels.items())) for sample in found]
    assert len(set(keys)) == len(keys), "no sample twice"
    return {key: sample.value for key, sample in zip(keys, found, strict=True)}


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


BLUE = {"endpoint": "house", "deployment": "blue"}


def test_what_the_page_says() -> None:
    found = samples(figures())
    assert found[at("penstock_build_info", version="1.2.3")] == 1
    assert found[at("penstock_start_time_seconds")] == NOW.timestamp()
    assert found[at("penstock_gateways_connected")] == 2
    assert found[at("penstock_gateway_connections_active")] == 11
    assert found[at("penstock_gateway_lost_requests_total")] == 4
    assert found[at("penstock_gateway_unrouted_requests_total", code="404")] == 7
    assert found[at("penstock_requests_total", **BLUE, code="200", model_code="200")] == 100
    assert found[at("penstock_requests_total", **BLUE, code="424", model_code="500")] == 1
    assert found[at("penstock_requests_total", endpoint="house", deployment="", code="401", model_code="")] == 1
    assert found[at("penstock_requests_in_progress", **BLUE)] == 3
    assert found[at("penstock_attempts_total", **BLUE, result="success")] == 8
    assert found[at("penstock_attempts_total", **BLUE, result="error")] == 1
    assert found[at("penstock_deployment_instances", **BLUE, state="ready")] == 1
    assert found[at("penstock_deployment_instances", **BLUE, state="failed")] == 0
    assert found[at("penstock_instance_requests_in_progress", **BLUE, instance="one")] == 3
    assert found[at("penstock_instance_cpu_seconds_total", **BLUE, instance="one")] == 12.5
    assert found[at("penstock_instance_cpu_utilization_ratio", **BLUE, instance="one")] == 0.25
    assert found[at("penstock_instance_memory_bytes", **BLUE, instance="one")] == 1 << 20
    assert found[at("penstock_instance_memory_utilization_ratio", **BLUE, instance="one")] == 0.005


def test_the_histogram_is_cumulative_and_ends_with_everything() -> None:
    found = samples(figures())
    name = "penstock_request_duration_seconds"
    assert found[at(f"{name}_bucket", **BLUE, le="0.005")] == 5
    assert found[at(f"{name}_bucket", **BLUE, le="0.1")] == 100
    assert found[at(f"{name}_bucket", **BLUE, le="180")] == 100
    assert found[at(f"{name}_bucket", **BLUE, le="+Inf")] == found[at(f"{name}_count", **BLUE)] == 101
    assert found[at(f"{name}_sum", **BLUE)] == 205.05
    p50 = found[at("penstock_request_duration_quantile_seconds", **BLUE, quantile="0.5")]
    assert abs(p50 - 0.051) <= 0.051 / 64


def test_what_is_not_known_is_left_out() -> None:
    found = samples(figures())
    names = {name for name, labels in found if ("deployment", "green") in labels}
    assert names == {"penstock_deployment_instances"}
    ratios = [labels for name, labels in found if name == "penstock_instance_cpu_utilization_ratio"]
    assert ratios == [frozenset({*BLUE.items(), ("instance", "one")})]
    nobody = PlatformFigures("1", NOW, (), GatewayFigures(0, {}))
    assert {name for name, _ in samples(nobody)} == {
        "penstock_build_info",
        "penstock_start_time_seconds",
        "penstock_gateways_connected",
    }
