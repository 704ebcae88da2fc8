"""``penstock online-endpoint metrics``: how an endpoint is doing, as data and as a table."""

from __future__ import annotations

import argparse
from typing import Any

from penstock.cli.command import Columns
from penstock.cli.context import Context
from penstock.names import short_name
from penstock.v1 import instance_pb2
from penstock.v1.metrics_service_pb2 import DeploymentMetrics, EndpointMetrics, InstanceMetrics, RequestMetrics

TABLE = Columns(
    (
        ("Deployment", "name"),
        ("Req/min", "requests_per_minute"),
        ("P50ms", "latency_ms.p50"),
        ("P90ms", "latency_ms.p90"),
        ("P95ms", "latency_ms.p95"),
        ("P99ms", "latency_ms.p99"),
        ("Running", "requests_in_progress"),
        ("Instances", "capacity"),
        ("Statuses", "statuses"),
    )
)


def metrics(context: Context, parsed: argparse.Namespace) -> Any:
    """Show how an endpoint is doing."""
    shown = shape(context.client.endpoints.metrics(parsed.name))
    if parsed.output != "table":
        return shown
    refused = shown["refused"]
    if refused["outcomes"]:
        context.console.done(f"refused by the gateway, by status: {_words(_statuses(refused))}")
    return [{**deployment, "statuses": _statuses(deployment)} for deployment in shown["deployments"]]


def shape(message: EndpointMetrics) -> dict[str, Any]:
    """An endpoint's figures. What is not known is null."""
    return {
        "name": short_name(message.name),
        "sample_time": message.sample_time.ToJsonString(),
        "gateways_reporting": message.gateways_reporting,
        "deployments": [_deployment(deployment) for deployment in message.deployments],
        "refused": _requests(message.refused),
    }


def _deployment(message: DeploymentMetrics) -> dict[str, Any]:
    load = message.load if message.HasField("load") else None
    return {
        "name": short_name(message.name),
        **_requests(message.requests),
        "requests_in_progress": load.requests_in_progress if load else None,
        "attempts_succeeded_total": load.succeeded_total if load else None,
        "attempts_failed_total": load.failed_total if load else None,
        "capacity": {_state(entry.state): entry.count for entry in message.capacity},
        "instances": [_instance(instance) for instance in message.instances],
    }


def _requests(message: RequestMetrics) -> dict[str, Any]:
    latency = message.latency
    return {
        "window_seconds": message.window.seconds,
        "requests_per_minute": round(message.requests_per_minute, 1),
        "latency_ms": {
            key: round(getattr(latency, f"{key}_ms"), 3) for key in ("mean", "p50", "p90", "p95", "p99", "max")
        }
        if message.HasField("latency")
        else None,
        "outcomes": [
            {
                "status_code": outcome.status_code,
                "model_status_code": outcome.model_status_code or None,
                "requests_per_minute": round(outcome.requests_per_minute, 1),
                "total": outcome.total,
            }
            for outcome in message.outcomes
        ],
    }


def _instance(message: InstanceMetrics) -> dict[str, Any]:
    measured = message.HasField("memory_bytes")
    return {
        "name": short_name(message.name),
        "state": _state(message.state),
        "requests_in_progress": message.requests_in_progress if message.HasField("requests_in_progress") else None,
        "cpu_percent": round(message.cpu_percent, 1) if message.HasField("cpu_percent") else None,
        "memory_bytes": message.memory_bytes if measured else None,
        "memory_percent": round(message.memory_percent, 1) if measured else None,
    }


def _state(value: instance_pb2.InstanceState.ValueType) -> str:
    return instance_pb2.InstanceState.Name(value).removeprefix("INSTANCE_STATE_").capitalize()


def _statuses(requests: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for outcome in requests["outcomes"]:
        code = str(outcome["status_code"])
        found[code] = found.get(code, 0) + outcome["total"]
    return found


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{code}: {count}" for code, count in counts.items())
