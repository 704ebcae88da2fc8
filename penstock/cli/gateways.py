"""``penstock gateway``: what each gateway has, and the gateway's process."""

from __future__ import annotations

import argparse
from typing import Any

from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.v1 import gateway_service_pb2

_TABLE = Columns(
    (
        ("Gateway", "name"),
        ("Envoy", "version"),
        ("Connected", "connected_since"),
        ("State", "state"),
        ("Acked", "acked"),
        ("Pending", "pending"),
        ("Rejected", "rejected"),
        ("Why", "reasons"),
    )
)


def config(context: Context, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """What each gateway has acknowledged, what is pending or refused, and why."""
    status = context.client.gateway_status(parsed.endpoint_name or "")
    if not status.gateways:
        context.console.note("no gateway is connected")
    return [_gateway(gateway) for gateway in status.gateways]


def restart(context: Context, _: argparse.Namespace) -> dict[str, Any]:
    """Replace the gateway's process without losing a request."""
    with context.console.working("starting a new gateway"):
        done = context.client.restart_gateway()
    context.console.done("a new gateway has taken over; the former one finishes what it has")
    return {"pid": done.pid, "epoch": done.epoch, "version": done.version}


def _gateway(message: gateway_service_pb2.Gateway) -> dict[str, Any]:
    refused = {f"{r.kind} {r.name}": r.reason for r in message.resources if r.reason}
    return {
        "name": message.node_id,
        "version": message.version,
        "connected_since": message.connect_time.ToDatetime().isoformat(timespec="seconds") + "Z",
        "state": "not listening" if message.listener_error else "late" if message.late else "serving",
        "acked": sum(count.acked for count in message.counts),
        "pending": sum(count.pending for count in message.counts),
        "rejected": sum(count.rejected for count in message.counts),
        "counts": {
            count.kind: {"acked": count.acked, "pending": count.pending, "rejected": count.rejected}
            for count in message.counts
        },
        "reasons": refused,
        "resources": [
            {
                "kind": resource.kind,
                "name": resource.name,
                "state": gateway_service_pb2.GatewayResourceState.Name(resource.state)
                .removeprefix("GATEWAY_RESOURCE_STATE_")
                .lower(),
                "version": resource.version,
                "reason": resource.reason,
            }
            for resource in message.resources
        ],
    }


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-e", "--endpoint-name", metavar="ENDPOINT", help="list what each gateway has of this endpoint, too"
    )


COMMANDS = (
    Command("config", "Show what each gateway has, and what is pending or refused.", config, _config_arguments, _TABLE),
    Command("restart", "Replace the gateway's process without losing a request.", restart),
)
