"""``penstock endpoint``: the 2021 form, one file with the deployments inside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from penstock import convert, manifest
from penstock.cli import arguments, changes, online_deployment, online_endpoint, shapes
from penstock.cli.command import Command
from penstock.cli.context import Context
from penstock.cli.revision import Kind, Revision, revise
from penstock.errors import NotFoundError, PenstockError, UsageError
from penstock.names import short_name
from penstock.v1.deployment_pb2 import Deployment
from penstock.v1.endpoint_pb2 import Endpoint


def create(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Create the endpoint, then its deployments, then its traffic. If any of it fails, none of it stays."""
    if parsed.local:
        context.console.note("--local means nothing here: the platform is this one")
    if parsed.no_wait:
        raise UsageError("--no-wait cannot be combined with a file of several steps")
    wanted = _load(context, parsed)
    try:
        context.client.endpoints.get(wanted.name)
    except NotFoundError:
        pass
    else:
        raise PenstockError(
            f"the endpoint '{wanted.name}' is already there", hint="`penstock endpoint update` changes it"
        )
    message = convert.endpoint_message(wanted)
    changes.finish(context, f"creating endpoint '{wanted.name}'", context.client.endpoints.create(wanted.name, message))
    try:
        for deployment in wanted.deployments:
            changes.create_deployment(context, wanted.name, deployment)
        if wanted.deployments and (wanted.traffic or wanted.mirror_traffic):
            message = Endpoint(traffic=wanted.traffic, mirror_traffic=wanted.mirror_traffic)
            operation = context.client.endpoints.update(wanted.name, message, ["traffic", "mirror_traffic"])
            changes.finish(context, f"setting the traffic of '{wanted.name}'", operation)
    except PenstockError as error:
        _take_back(context, wanted.name, error)
        raise
    return _shown(context, wanted.name)


def show(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show an endpoint with its deployments, or one deployment."""
    if parsed.deployment:
        return shapes.deployment(context.client.deployments.get(parsed.name, parsed.deployment))
    return _shown(context, parsed.name)


def list_(context: Context, _: argparse.Namespace) -> list[dict[str, Any]]:
    """List every endpoint with its deployments."""
    behind: dict[str, list[Deployment]] = {}
    for deployment in context.client.deployments.list():
        behind.setdefault(deployment.name.partition("/deployments/")[0], []).append(deployment)
    return [shapes.endpoint_2021(e, behind.get(e.name, [])) for e in context.client.endpoints.list()]


def update(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Make the endpoint what the file says, or change its traffic, or one deployment."""
    _refuse_unread(parsed)
    if parsed.file is not None:
        return _declare(context, parsed)
    if not parsed.name:
        raise UsageError("give the endpoint's file with --file, or its name with --name")
    if parsed.deployment_file is not None:
        _update_from_file(context, parsed)
    elif parsed.deployment:
        overrides = [*arguments.sets(parsed)]
        if parsed.instance_count is not None:
            overrides += arguments.flags({"instance_count": parsed.instance_count})
        before = context.client.deployments.get(parsed.name, parsed.deployment)
        message, fields = online_deployment.changed(context, before, overrides)
        if not fields:
            raise UsageError("there is nothing to change: give --instance-count, --deployment-file or --set")
        _update_deployment(context, before, message, sorted(fields))
    if parsed.traffic is not None:
        operation = context.client.endpoints.set_traffic(parsed.name, parsed.traffic)
        changes.finish(context, f"setting the traffic of '{parsed.name}'", operation)
    elif not parsed.deployment and parsed.deployment_file is None:
        raise UsageError("there is nothing to change: give --file, --traffic or --deployment")
    return _shown(context, parsed.name)


def delete(context: Context, parsed: argparse.Namespace) -> None:
    """Delete an endpoint with its deployments, or one deployment."""
    if parsed.deployment:
        question = f"Delete the deployment '{parsed.deployment}' of '{parsed.name}'?"
        changes.confirm(context, question, yes=parsed.yes)
        operation = context.client.deployments.delete(parsed.name, parsed.deployment)
        if not parsed.no_wait:
            changes.finish(context, f"deleting deployment '{parsed.deployment}'", operation)
        return
    online_endpoint.delete(context, parsed)


def get_logs(context: Context, parsed: argparse.Namespace) -> None:
    """Print a deployment's log."""
    online_deployment.print_logs(context, parsed.name, parsed.deployment, parsed)


def _refuse_unread(parsed: argparse.Namespace) -> None:
    """Refuse arguments of ``update`` that mean nothing beside the others."""
    flags = ("traffic", "deployment", "deployment_file", "instance_count")
    given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(parsed, flag) is not None]
    if parsed.file is not None and given:
        raise UsageError(f"--file says all there is to say: leave {', '.join(given)} out")
    if parsed.file is None and parsed.deployment is None and parsed.deployment_file is None:
        for flag, alone in (("--instance-count", parsed.instance_count is not None), ("--set", bool(parsed.sets))):
            if alone:
                raise UsageError(f"{flag} needs to know of which deployment: give --deployment or --deployment-file")


def _declare(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """``update -f``: exactly one kind of change, a deployment missing from the file is deleted."""
    wanted = _load(context, parsed)
    endpoint = context.client.endpoints.get(wanted.name)
    goal = convert.endpoint_message(wanted)
    if goal.auth_mode != endpoint.auth_mode:
        raise UsageError("`auth_mode` cannot be changed", hint="create another endpoint")
    now = {short_name(d.name): d for d in context.client.deployments.list(wanted.name)}
    published = {d.name: _resolved(context, changes.publish(context, d)) for d in wanted.deployments}
    goal.traffic.update(wanted.traffic)
    goal.mirror_traffic.update(wanted.mirror_traffic)
    revision = revise(endpoint, now, goal, published)
    if revision.kind is None:
        context.console.note(f"'{wanted.name}' already is what the file says")
    _carry_out(context, now=endpoint, deployments=now, goal=goal, published=published, revision=revision)
    return _shown(context, wanted.name)


def _carry_out(
    context: Context,
    *,
    now: Endpoint,
    deployments: dict[str, Deployment],
    goal: Endpoint,
    published: dict[str, Deployment],
    revision: Revision,
) -> None:
    endpoint = short_name(now.name)
    for name in revision.add:
        operation = context.client.deployments.create(endpoint, name, published[name])
        changes.finish_new(context, endpoint, name, operation)
    for name in revision.remove:
        changes.finish(context, f"deleting deployment '{name}'", context.client.deployments.delete(endpoint, name))
    for name in revision.change:
        _update_deployment(context, deployments[name], published[name], [])
    fields = ["traffic", "mirror_traffic"] if revision.kind is Kind.TRAFFIC else list(revision.endpoint_fields)
    if fields:
        updating = context.client.endpoints.update(endpoint, goal, fields)
        changes.finish(context, f"updating endpoint '{endpoint}'", updating)


def _update_from_file(context: Context, parsed: argparse.Namespace) -> None:
    overrides = [*arguments.sets(parsed), manifest.Flag.of("--name", "endpoint_name", parsed.name)]
    overrides += arguments.flags({"instance_count": parsed.instance_count})
    if parsed.deployment:
        overrides.append(manifest.Flag.of("--deployment", "name", parsed.deployment))
    loaded = manifest.load_deployment(parsed.deployment_file, overrides)
    changes.note_all(context, loaded.notes)
    name = loaded.value.name
    try:
        before = context.client.deployments.get(parsed.name, name)
    except NotFoundError:
        changes.create_deployment(context, parsed.name, loaded.value)
    else:
        _update_deployment(context, before, changes.publish(context, loaded.value), [])


def _update_deployment(context: Context, before: Deployment, message: Deployment, fields: list[str]) -> None:
    _, endpoint, _, name = before.name.split("/")
    operation = context.client.deployments.update(endpoint, name, message, fields)
    changes.note_differences(context, changes.finish(context, f"updating deployment '{name}'", operation), before)


def _resolved(context: Context, message: Deployment) -> Deployment:
    """``latest`` as the version it means now, so that it can be compared with what runs."""
    if message.model.endswith("/latest"):
        message.model = context.client.models.get(message.model.split("/")[1]).name
    if message.environment.endswith("/latest"):
        message.environment = context.client.environments.get(message.environment.split("/")[1]).name
    return message


def _take_back(context: Context, name: str, cause: PenstockError) -> None:
    try:
        changes.finish(context, f"removing '{name}' again", context.client.endpoints.delete(name))
    except PenstockError as error:
        context.console.note(f"the endpoint '{name}' could not be removed again: {error}")
    else:
        cause.hint = "the endpoint and what had been made of it were removed again"


def _load(context: Context, parsed: argparse.Namespace) -> manifest.ManifestEndpoint:
    name = arguments.flags({"name": parsed.name})
    loaded = manifest.load_endpoint(parsed.file, [*arguments.sets(parsed), *name])
    changes.note_all(context, loaded.notes)
    return loaded.value


def _shown(context: Context, name: str) -> dict[str, Any]:
    endpoint = context.client.endpoints.get(name)
    return shapes.endpoint_2021(endpoint, list(context.client.deployments.list(name)))


def _deployment_argument(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument("-d", "--deployment", required=required, help="the deployment's name")


def _type_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--type", choices=["online"], default="online", help="online, the only one yet")


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint", required=False)
    arguments.file(parser, "the endpoint with its deployments", required=True)
    parser.add_argument("--local", action="store_true", help=argparse.SUPPRESS)
    _type_argument(parser)
    arguments.no_wait(parser)


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint", required=False)
    arguments.file(parser, "the endpoint with its deployments", required=False)
    parser.add_argument("-r", "--traffic", type=arguments.traffic, metavar="SHARES", help='such as "blue:90,green:10"')
    _deployment_argument(parser)
    parser.add_argument("-e", "--deployment-file", type=Path, metavar="FILE", help="the YAML file of one deployment")
    parser.add_argument("-i", "--instance-count", type=int, help="instances of the deployment")
    _type_argument(parser)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint")
    _deployment_argument(parser)
    _type_argument(parser)


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    online_endpoint.delete_arguments(parser)
    _deployment_argument(parser)
    _type_argument(parser)


def _log_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint")
    _deployment_argument(parser, required=True)
    online_deployment.log_arguments(parser)
    _type_argument(parser)


COMMANDS = (
    Command("create", "Create an endpoint with its deployments.", create, _create_arguments, online_endpoint.TABLE),
    Command("show", "Show an endpoint.", show, _show_arguments, online_endpoint.TABLE),
    Command("list", "List the endpoints.", list_, _type_argument, online_endpoint.TABLE),
    Command("update", "Change an endpoint.", update, _update_arguments, online_endpoint.TABLE),
    Command("delete", "Delete an endpoint, or one of its deployments.", delete, _delete_arguments),
    Command("invoke", "Send a request.", online_endpoint.invoke, online_endpoint.invoke_arguments),
    Command("get-logs", "Print a deployment's log.", get_logs, _log_arguments),
    Command("get-credentials", "Show the keys.", online_endpoint.get_credentials, online_endpoint.name_arguments),
    Command("list-keys", "Show the keys.", online_endpoint.get_credentials, online_endpoint.name_arguments),
    Command("regenerate-keys", "Replace a key.", online_endpoint.regenerate_keys, online_endpoint.regenerate_arguments),
)
