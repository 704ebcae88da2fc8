"""``penstock gateway``: what each gateway has, and the gateway's process."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from penstock.cli import enrolment, platform, renewal
from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.cli.stand_in import StandIn
from penstock.settings import child_environment
from penstock.v1 import gateway_service_pb2

_ARGV = [sys.executable, "-m", "controlplane", "gateway"]
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


def start(context: Context, parsed: argparse.Namespace) -> dict[str, Any] | None:
    """While the control plane is away: serve what it served last, until it is back."""
    home = _home_folder(context, parsed)
    standing = StandIn(home)
    if standing.platform_answers():
        context.console.done("the platform runs, and its gateway with it")
        return None
    with context.console.working("starting the gateway") as say:
        found = standing.start([*_ARGV, "--once"], _environment(home), say)
    context.console.done(f"serving the last state at {found['gateway']}, until the control plane is back")
    return found


def run(context: Context, parsed: argparse.Namespace) -> None:
    """As ``start`` in the foreground, and again each time the control plane goes away: for systemd and the like."""
    os.execve(_ARGV[0], _ARGV, _environment(_home_folder(context, parsed)))  # noqa: S606 - our own interpreter


def _home_folder(context: Context, parsed: argparse.Namespace) -> Path:
    home: Path | None = parsed.home
    return home.expanduser().absolute() if home is not None else context.settings.home


def _environment(home: Path) -> dict[str, str]:
    return child_environment({"PENSTOCK_HOME": str(home)})


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
    Command("start", "Serve the last state while the control plane is away.", start, platform.home_argument),
    Command("run", "As start, in the foreground and for good: for systemd.", run, platform.home_argument),
    Command("restart", "Replace the gateway's process without losing a request.", restart),
    *enrolment.COMMANDS,
    *renewal.COMMANDS,
)
