"""``penstock online-deployment``: deployments in the current dialect."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from penstock import convert, manifest
from penstock.cli import arguments, changes, shapes
from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.errors import ManifestError, Position, Problem, UsageError
from penstock.v1.deployment_pb2 import Deployment

_LOG_LINES = 5000
_PLAIN = (
    "environment_variables",
    "instance_type",
    "instance_count",
    "request_settings",
    "liveness_probe",
    "readiness_probe",
    "model_mount_path",
    "description",
    "tags",
    "properties",
    "model",
    "environment",
    "strict_environment",
)
"""What ``--set`` can change without a file."""
TABLE = Columns(
    (
        ("Name", "name"),
        ("Endpoint", "endpoint_name"),
        ("State", "provisioning_state"),
        ("Ready", "ready_instances"),
        ("Instances", "instance_count"),
        ("Model", "model"),
        ("Status", "status_message"),
    )
)


def create(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Create a deployment; with ``--all-traffic`` it then gets all of the endpoint's."""
    if parsed.all_traffic and parsed.no_wait:
        raise UsageError("--all-traffic cannot be combined with --no-wait: traffic moves once the deployment answers")
    deployment = _load(context, parsed)
    endpoint = deployment.endpoint_name
    changes.refuse_existing_deployment(context, endpoint, deployment.name)
    if parsed.no_wait:
        message = changes.publish(context, deployment)
        context.client.deployments.create(endpoint, deployment.name, message)
    else:
        changes.create_deployment(context, endpoint, deployment, keep_failed=parsed.keep_failed)
    if parsed.all_traffic:
        operation = context.client.endpoints.set_traffic(endpoint, {deployment.name: 100})
        changes.finish(context, f"moving all traffic to '{deployment.name}'", operation)
    return shapes.deployment(context.client.deployments.get(endpoint, deployment.name))


def show(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show one deployment."""
    return shapes.deployment(context.client.deployments.get(parsed.endpoint_name, parsed.name))


def list_(context: Context, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """List an endpoint's deployments."""
    return [shapes.deployment(d) for d in context.client.deployments.list(parsed.endpoint_name)]


def update(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Change a deployment; what answered before stays until the new instances do."""
    if parsed.file is not None:
        deployment = _load(context, parsed)
        endpoint, name = deployment.endpoint_name, deployment.name
        before = context.client.deployments.get(endpoint, name)
        message, fields = changes.publish(context, deployment), set[str]()
    elif parsed.name and parsed.endpoint_name:
        endpoint, name = parsed.endpoint_name, parsed.name
        before = context.client.deployments.get(endpoint, name)
        message, fields = changed(context, before, _overrides(parsed))
        if not fields:
            raise UsageError("there is nothing to change: give --file, --instance-count or --set")
    else:
        raise UsageError("give the deployment's file with --file, or its --name and --endpoint-name")
    operation = context.client.deployments.update(endpoint, name, message, sorted(fields))
    if not parsed.no_wait:
        changes.note_differences(context, changes.finish(context, f"updating deployment '{name}'", operation), before)
    return shapes.deployment(context.client.deployments.get(endpoint, name))


def delete(context: Context, parsed: argparse.Namespace) -> None:
    """Delete a deployment that has no live traffic."""
    endpoint, name = parsed.endpoint_name, parsed.name
    changes.confirm(context, f"Delete the deployment '{name}' of '{endpoint}'?", yes=parsed.yes)
    operation = context.client.deployments.delete(endpoint, name)
    if not parsed.no_wait:
        changes.finish(context, f"deleting deployment '{name}'", operation)


def get_logs(context: Context, parsed: argparse.Namespace) -> None:
    """Print a deployment's log, each line as it comes."""
    print_logs(context, parsed.endpoint_name, parsed.name, parsed)


def print_logs(context: Context, endpoint: str, name: str, parsed: argparse.Namespace) -> None:
    """Lines go to stdout as they are; which instance wrote them, to stderr whenever that changes."""
    pieces = context.client.deployments.logs(
        endpoint,
        name,
        lines=parsed.lines,
        follow=parsed.follow,
        storage_initializer=parsed.container == "storage-initializer",
    )
    current = ""
    for piece in pieces:
        if piece.instance != current:
            current = piece.instance
            context.console.done(f"instance {current}:")
        sys.stdout.writelines(f"{line}\n" for line in piece.lines)
        sys.stdout.flush()


def changed(context: Context, now: Deployment, overrides: list[str]) -> tuple[Deployment, set[str]]:
    """What overrides make of a deployment as it is, and the fields to send: those that differ, or else any one.

    Asking for what is there already is no mistake. It is done at once, or has a deployment that failed tried again.
    """
    _, endpoint, _, name = now.name.split("/")
    if not overrides:
        return now, set()
    for override in overrides:
        if override.partition("=")[0].partition(".")[0].startswith("code_configuration"):
            message = "code can be changed only with --file, whose paths can be resolved"
            raise ManifestError([Problem(Position(f"--set {override}"), message)])
    shown = shapes.deployment(now)
    written = {key: shown[key] for key in _PLAIN if shown[key] not in (None, "", {})}
    text = json.dumps({"name": name, "endpoint_name": endpoint} | written)
    source = manifest.Text(text, f"the deployment '{name}'", Path.cwd())
    before, after = (manifest.load_deployment(source, given).value for given in ((), overrides))
    if (after.name, after.endpoint_name) != (name, endpoint):
        raise UsageError("`name` and `endpoint_name` say which deployment is meant, and cannot be given by --set")
    wanted = changes.publish(context, after)
    base = convert.deployment_message(before, model=now.model, environment=now.environment)
    fields = {
        field.name
        for field in Deployment.DESCRIPTOR.fields
        if field.name in _PLAIN and getattr(wanted, field.name) != getattr(base, field.name)
    }
    if wanted.retained:
        wanted.retained.update({**now.retained, **wanted.retained})
        fields.add("retained")
    wanted.name, wanted.etag = now.name, now.etag
    return wanted, fields or {"instance_count"}


def log_arguments(parser: argparse.ArgumentParser) -> None:
    """Which lines of which log."""
    parser.add_argument("-l", "--lines", type=int, default=_LOG_LINES, help="the last lines of each instance (5000)")
    parser.add_argument("--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument(
        "-c",
        "--container",
        choices=["inference-server", "storage-initializer"],
        default="inference-server",
        help="the script's log (default), or that of building the environment",
    )


def _load(context: Context, parsed: argparse.Namespace) -> manifest.ManifestDeployment:
    loaded = manifest.load_deployment(parsed.file, _overrides(parsed))
    if not loaded.value.endpoint_name:
        problem = Problem(loaded.value.at, "`endpoint_name` is required, here or as --endpoint-name")
        raise ManifestError([problem])
    changes.note_all(context, loaded.notes)
    return loaded.value


def _overrides(parsed: argparse.Namespace) -> list[str]:
    given = {"name": parsed.name, "endpoint_name": parsed.endpoint_name} if parsed.file is not None else {}
    given["instance_count"] = getattr(parsed, "instance_count", None)
    given["strict_environment"] = getattr(parsed, "strict_environment", False) or None
    return [*arguments.sets(parsed), *arguments.flags(given)]


def _name_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "deployment")
    arguments.endpoint_name(parser)


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "deployment", required=False)
    arguments.endpoint_name(parser, required=False)
    arguments.file(parser, "the deployment", required=True)
    parser.add_argument("--all-traffic", action="store_true", help="give it all of the endpoint's traffic then")
    parser.add_argument("--strict-environment", action="store_true", help="refuse an environment that differs at all")
    parser.add_argument("--keep-failed", action="store_true", help="keep a deployment that cannot answer")
    arguments.no_wait(parser)


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "deployment", required=False)
    arguments.endpoint_name(parser, required=False)
    arguments.file(parser, "the deployment", required=False)
    parser.add_argument("-i", "--instance-count", type=int, help="instances wanted")
    arguments.no_wait(parser)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.endpoint_name(parser)


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    _name_arguments(parser)
    arguments.yes(parser)
    arguments.no_wait(parser)


def _log_arguments(parser: argparse.ArgumentParser) -> None:
    _name_arguments(parser)
    log_arguments(parser)


COMMANDS = (
    Command("create", "Create a deployment.", create, _create_arguments, TABLE),
    Command("show", "Show a deployment.", show, _name_arguments, TABLE),
    Command("list", "List an endpoint's deployments.", list_, _list_arguments, TABLE),
    Command("update", "Change a deployment.", update, _update_arguments, TABLE),
    Command("delete", "Delete a deployment that has no traffic.", delete, _delete_arguments),
    Command("get-logs", "Print a deployment's log.", get_logs, _log_arguments),
)
