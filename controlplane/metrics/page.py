"""The figures in Prometheus' text format 0.0.4. Names and labels are a contract: docs/metrics.md lists them all.

Written here rather than by a client library: everything is computed when asked, for up to 10,000 deployments, and the
page leaves in pieces, so that nobody else in the event loop waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from controlplane.domain.instances import InstanceState
from controlplane.metrics.figures import DeploymentFigures, EndpointFigures, InstanceFigures, PlatformFigures
from gateway.traffic import BOUNDS_S, RequestFigures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES = (0.5, 0.9, 0.95, 0.99)
_BOUNDS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


def page(figures: PlatformFigures) -> Iterator[str]:
    """The page, a few lines at a time."""
    deployments = [deployment for endpoint in figures.endpoints for deployment in endpoint.deployments]
    yield from _platform(figures)
    yield from _requests(figures.endpoints)
    yield from _latency(deployments)
    yield from _load(deployments)
    yield from _instances(deployments)


def _platform(figures: PlatformFigures) -> Iterator[str]:
    gateway = figures.gateway
    yield _family("penstock_build_info", "gauge", "Always 1; the version is in the label.")
    yield _sample("penstock_build_info", _labels(version=figures.version), 1)
    yield _family("penstock_start_time_seconds", "gauge", "When this control plane started, in seconds since 1970.")
    yield _sample("penstock_start_time_seconds", "", figures.started.timestamp())
    yield _family("penstock_gateways_connected", "gauge", "Gateways that are connected to the control plane.")
    yield _sample("penstock_gateways_connected", "", gateway.connected)
    if gateway.connections is not None:
        yield _family("penstock_gateway_connections_active", "gauge", "Client connections open at the local gateway.")
        yield _sample("penstock_gateway_connections_active", "", gateway.connections)
    if gateway.lost is not None:
        name = "penstock_gateway_lost_requests_total"
        yield _family(name, "counter", "Requests missing in all other metrics: the control plane was away or behind.")
        yield _sample(name, "", gateway.lost)
    name = "penstock_gateway_unrouted_requests_total"
    yield _family(name, "counter", "Requests to no known endpoint.")
    for code, count in sorted(gateway.unrouted.items()):
        yield _sample(name, _labels(code=str(code)), count)


def _requests(endpoints: tuple[EndpointFigures, ...]) -> Iterator[str]:
    name = "penstock_requests_total"
    yield _family(
        name,
        "counter",
        "Requests that ended, by the status the client got and the one the model answered (empty: it did not). The "
        "deployment is empty when the gateway answered before it had chosen one.",
    )
    for endpoint in endpoints:
        yield _outcomes(name, _labels(endpoint=endpoint.name, deployment=""), endpoint.refused)
        for deployment in endpoint.deployments:
            yield _outcomes(name, _of(deployment), deployment.requests)


def _outcomes(name: str, labels: str, requests: RequestFigures) -> str:
    return "".join(
        _sample(name, f'{labels},code="{code}",model_code="{model_code or ""}"', count)
        for (code, model_code), count in sorted(requests.totals.items())
    )


def _latency(deployments: list[DeploymentFigures]) -> Iterator[str]:
    name = "penstock_request_duration_seconds"
    yield _family(name, "histogram", "From a request's first byte to the answer's last, both at the gateway.")
    for deployment in deployments:
        requests, labels = deployment.requests, _of(deployment)
        if requests.totals:
            rows = zip(_BOUNDS, accumulate(requests.histogram), strict=True)
            yield "".join(_sample(f"{name}_bucket", f'{labels},le="{bound}"', count) for bound, count in rows)
            yield _sample(f"{name}_sum", labels, requests.latency_sum_s)
            yield _sample(f"{name}_count", labels, sum(requests.histogram))
    name = "penstock_request_duration_quantile_seconds"
    yield _family(name, "gauge", "Quantiles of the request duration over the last minute, at most 1.6 % off.")
    for deployment in deployments:
        latency, labels = deployment.requests.latency, _of(deployment)
        if latency.count:
            values = zip(QUANTILES, latency.quantiles(*QUANTILES), strict=True)
            yield "".join(_sample(name, f'{labels},quantile="{q}"', us / 1e6) for q, us in values)


def _load(deployments: list[DeploymentFigures]) -> Iterator[str]:
    name = "penstock_requests_in_progress"
    yield _family(name, "gauge", "Requests that instances work on, a second ago at most.")
    for deployment in deployments:
        if deployment.load is not None:
            yield _sample(name, _of(deployment), deployment.load.now.in_progress)
    name = "penstock_attempts_total"
    yield _family(name, "counter", "Answers of instances; a request that was retried has two.")
    for deployment in deployments:
        if deployment.load is not None:
            total, labels = deployment.load.total, _of(deployment)
            yield _sample(name, f'{labels},result="success"', total.succeeded)
            yield _sample(name, f'{labels},result="error"', total.failed)


def _instances(deployments: list[DeploymentFigures]) -> Iterator[str]:
    name = "penstock_deployment_instances"
    yield _family(name, "gauge", "Instances by state.")
    for deployment in deployments:
        capacity, labels = deployment.capacity, _of(deployment)
        yield "".join(
            _sample(name, f'{labels},state="{state.value.lower()}"', capacity.get(state, 0)) for state in InstanceState
        )
    instances = [
        (f'{_of(deployment)},instance="{instance.id}"', instance)
        for deployment in deployments
        for instance in deployment.instances
    ]
    name = "penstock_instance_requests_in_progress"
    yield _family(name, "gauge", "Requests that an instance works on, a second ago at most.")
    for labels, instance in instances:
        if instance.in_progress is not None:
            yield _sample(name, labels, instance.in_progress)
    yield from _usage(instances)


def _usage(instances: list[tuple[str, InstanceFigures]]) -> Iterator[str]:
    measured = [(labels, instance.usage) for labels, instance in instances if instance.usage is not None]
    name = "penstock_instance_cpu_seconds_total"
    yield _family(name, "counter", "Processor time an instance has used.")
    for labels, usage in measured:
        yield _sample(name, labels, usage.cpu_seconds)
    name = "penstock_instance_cpu_utilization_ratio"
    yield _family(name, "gauge", "Part of this machine's processors that an instance uses, 0 to 1.")
    for labels, usage in measured:
        if usage.cpu_percent is not None:
            yield _sample(name, labels, usage.cpu_percent / 100)
    name = "penstock_instance_memory_bytes"
    yield _family(name, "gauge", "Resident memory of an instance.")
    for labels, usage in measured:
        yield _sample(name, labels, usage.memory_bytes)
    name = "penstock_instance_memory_utilization_ratio"
    yield _family(name, "gauge", "Part of this machine's memory that an instance uses, 0 to 1.")
    for labels, usage in measured:
        yield _sample(name, labels, usage.memory_percent / 100)


def _of(deployment: DeploymentFigures) -> str:
    return _labels(endpoint=deployment.endpoint, deployment=deployment.name)


def _family(name: str, kind: str, help_text: str) -> str:
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"


def _labels(**labels: str) -> str:
    return ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _sample(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n"
