"""MetricsService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.duration_pb2 import Duration

from controlplane.api.convert.common import timestamp
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import deployment_name, endpoint_name, instance_name, parse
from controlplane.metrics.figures import DeploymentFigures, EndpointFigures, InstanceFigures
from controlplane.metrics.reader import MetricsReader
from gateway.traffic import RequestFigures
from penstock.v1 import instance_pb2, metrics_service_pb2, metrics_service_pb2_grpc

INTERVAL_S = 5.0
_SHORTEST_S, _LONGEST_S = 1.0, 60.0


class MetricsServicer(metrics_service_pb2_grpc.MetricsServiceServicer):
    """See ``protos/penstock/v1/metrics_service.proto``."""

    def __init__(self, metrics: MetricsReader) -> None:
        self._metrics = metrics

    async def GetEndpointMetrics(
        self, request: metrics_service_pb2.GetEndpointMetricsRequest, context: Any
    ) -> metrics_service_pb2.EndpointMetrics:
        return _endpoint(await self._metrics.endpoint(_name(request.name)))

    async def WatchEndpointMetrics(
        self, request: metrics_service_pb2.WatchEndpointMetricsRequest, context: Any
    ) -> AsyncIterator[metrics_service_pb2.WatchEndpointMetricsResponse]:
        interval = request.interval.ToNanoseconds() / 1e9 if request.HasField("interval") else INTERVAL_S
        if not _SHORTEST_S <= interval <= _LONGEST_S:
            raise InvalidArgumentError(Violation("interval", f"is {interval:g} s, and 1 to 60 s are taken"))
        async for figures in self._metrics.watch(_name(request.name), interval):
            yield metrics_service_pb2.WatchEndpointMetricsResponse(metrics=_endpoint(figures))


def _name(name: str) -> str:
    return parse("endpoints/{}", "name", name)[0]


def _endpoint(figures: EndpointFigures) -> metrics_service_pb2.EndpointMetrics:
    return metrics_service_pb2.EndpointMetrics(
        name=endpoint_name(figures.name),
        sample_time=timestamp(figures.at),
        deployments=[_deployment(deployment) for deployment in figures.deployments],
        refused=_requests(figures.refused),
        gateways_reporting=figures.gateways,
    )


def _deployment(figures: DeploymentFigures) -> metrics_service_pb2.DeploymentMetrics:
    message = metrics_service_pb2.DeploymentMetrics(
        name=deployment_name(figures.endpoint, figures.name),
        requests=_requests(figures.requests),
        capacity=[
            metrics_service_pb2.InstanceCount(state=_state(state.name), count=count)
            for state, count in sorted(figures.capacity.items())
        ],
        instances=[_instance(figures, instance) for instance in figures.instances],
    )
    if figures.load is not None:
        message.load.requests_in_progress = figures.load.now.in_progress
        message.load.succeeded_total = figures.load.total.succeeded
        message.load.failed_total = figures.load.total.failed
    return message


def _requests(figures: RequestFigures) -> metrics_service_pb2.RequestMetrics:
    message = metrics_service_pb2.RequestMetrics(
        window=Duration(seconds=round(figures.seconds)),
        requests_per_minute=figures.per_minute,
        outcomes=[
            metrics_service_pb2.OutcomeCount(
                status_code=outcome.code,
                model_status_code=outcome.model_code,
                requests_per_minute=figures.rate(figures.lately.get(outcome, 0)),
                total=total,
            )
            for outcome, total in sorted(figures.totals.items())
        ],
    )
    latency = figures.latency
    if latency.count:
        p50, p90, p95, p99 = (us / 1000 for us in latency.quantiles(0.5, 0.9, 0.95, 0.99))
        message.latency.CopyFrom(
            metrics_service_pb2.LatencyMetrics(
                mean_ms=latency.total / latency.count / 1000,
                p50_ms=p50,
                p90_ms=p90,
                p95_ms=p95,
                p99_ms=p99,
                max_ms=latency.maximum / 1000,
            )
        )
    return message


def _instance(deployment: DeploymentFigures, figures: InstanceFigures) -> metrics_service_pb2.InstanceMetrics:
    usage = figures.usage
    return metrics_service_pb2.InstanceMetrics(
        name=instance_name(deployment.endpoint, deployment.name, figures.id),
        state=_state(figures.state.name),
        requests_in_progress=figures.in_progress,
        cpu_percent=usage.cpu_percent if usage else None,
        memory_bytes=usage.memory_bytes if usage else None,
        memory_percent=usage.memory_percent if usage else None,
    )


def _state(name: str) -> instance_pb2.InstanceState.ValueType:
    return instance_pb2.InstanceState.Value(f"INSTANCE_STATE_{name}")
