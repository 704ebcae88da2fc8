"""``penstock online-endpoint``: endpoints in the current dialect."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from penstock import convert, manifest
from penstock.cli import arguments, changes, metrics, shapes
from penstock.cli.command import Columns, Command, Raw
from penstock.cli.context import Context
from penstock.errors import UsageError
from penstock.names import short_name
from penstock.v1.endpoint_pb2 import AUTH_MODE_AML_TOKEN, Endpoint

_UPDATABLE = ("traffic", "mirror_traffic", "description", "tags", "properties")
TABLE = Columns(
    (
        ("Name", "name"),
        ("State", "provisioning_state"),
        ("Traffic", "traffic"),
        ("ScoringUri", "scoring_uri"),
    )
)


def create(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Create an endpoint from a file, or from a name alone."""
    overrides = arguments.sets(parsed) + ([manifest.Flag.of("--name", "name", parsed.name)] if parsed.name else [])
    if parsed.auth_mode:
        overrides.append(manifest.Flag.of("--auth-mode", "auth_mode", parsed.auth_mode))
    if parsed.file is None and not parsed.name:
        raise UsageError("give the endpoint's file with --file, or its name with --name")
    source = parsed.file or manifest.Text("{}", "the command line", Path.cwd())
    endpoint = _load(context, source, overrides, f"`penstock endpoint create -f {parsed.file}` creates")
    operation = context.client.endpoints.create(endpoint.name, convert.endpoint_message(endpoint))
    if not parsed.no_wait:
        changes.finish(context, f"creating endpoint '{endpoint.name}'", operation)
    return show_endpoint(context, endpoint.name)


def show(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show one endpoint."""
    return show_endpoint(context, parsed.name)


def list_(context: Context, _: argparse.Namespace) -> list[dict[str, Any]]:
    """List every endpoint."""
    behind: dict[str, list[str]] = {}
    for deployment in context.client.deployments.list():
        endpoint, _sep, name = deployment.name.partition("/deployments/")
        behind.setdefault(endpoint, []).append(name)
    return [shapes.endpoint(e, behind.get(e.name, [])) for e in context.client.endpoints.list()]


def update(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Change traffic, description, tags or properties."""
    name: str | None = parsed.name
    if parsed.file is not None:
        given = [manifest.Flag.of("--name", "name", name)] if name else []
        does = f"`penstock endpoint update -f {parsed.file}` changes"
        endpoint = _load(context, parsed.file, [*arguments.sets(parsed), *given], does)
        name = endpoint.name
        wanted = convert.endpoint_message(endpoint)
        fields = {*_UPDATABLE, "retained"} - (set() if endpoint.traffic else {"traffic"})
    elif name:
        wanted, fields = _changed(context, name, parsed)
    else:
        raise UsageError("give the endpoint's file with --file, or its name with --name")
    if parsed.traffic is not None:
        wanted.ClearField("traffic")
        wanted.traffic.update(parsed.traffic)
        fields.add("traffic")
    if parsed.mirror_traffic is not None:
        wanted.ClearField("mirror_traffic")
        wanted.mirror_traffic.update(parsed.mirror_traffic)
        fields.add("mirror_traffic")
    if not fields:
        raise UsageError("there is nothing to change: give --traffic, --mirror-traffic, --set or --file")
    operation = context.client.endpoints.update(name, wanted, sorted(fields))
    if not parsed.no_wait:
        changes.finish(context, f"updating endpoint '{name}'", operation)
    return show_endpoint(context, name)


def delete(context: Context, parsed: argparse.Namespace) -> None:
    """Delete an endpoint with its deployments."""
    changes.confirm(context, f"Delete the endpoint '{parsed.name}' with its deployments?", yes=parsed.yes)
    operation = context.client.endpoints.delete(parsed.name)
    if not parsed.no_wait:
        changes.finish(context, f"deleting endpoint '{parsed.name}'", operation)


def invoke(context: Context, parsed: argparse.Namespace) -> Raw:
    """Send a request and print the answer as it is."""
    body = changes.read_request(parsed.request_file)
    with context.console.working(f"waiting for '{parsed.name}'"):
        answer = context.client.invoke(parsed.name, body, deployment=parsed.deployment_name or "")
    return Raw(answer.text if answer.text.endswith("\n") else answer.text + "\n")


def get_credentials(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show both keys, or a new token."""
    if _takes_tokens(context, parsed.name):
        return shapes.token(context.client.endpoints.token(parsed.name))
    return shapes.credentials(context.client.endpoints.keys(parsed.name))


def regenerate_keys(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Replace one key and show both; or end all tokens and show a new one."""
    if _takes_tokens(context, parsed.name):
        for flag, given in (("--key-value", parsed.key_value), ("--key-type", parsed.key_type)):
            if given:
                raise UsageError(f"'{parsed.name}' takes tokens, which cannot be chosen: leave {flag} out")
        context.client.endpoints.revoke_tokens(parsed.name)
        return shapes.token(context.client.endpoints.token(parsed.name))
    keys = context.client.endpoints.regenerate_key(
        parsed.name, secondary=parsed.key_type == "secondary", value=parsed.key_value or ""
    )
    return shapes.credentials(keys)


def show_endpoint(context: Context, name: str) -> dict[str, Any]:
    """An endpoint with a 0 for each deployment that has no traffic."""
    endpoint = context.client.endpoints.get(name)
    return shapes.endpoint(endpoint, [short_name(d.name) for d in context.client.deployments.list(name)])


def delete_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``delete``."""
    arguments.name(parser, "endpoint")
    arguments.yes(parser)
    arguments.no_wait(parser)


def invoke_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``invoke``."""
    arguments.name(parser, "endpoint")
    parser.add_argument("-r", "--request-file", type=Path, required=True, metavar="FILE", help="the request's body")
    parser.add_argument("-d", "--deployment-name", metavar="DEPLOYMENT", help="this deployment, whatever its traffic")


def regenerate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``regenerate-keys``."""
    arguments.name(parser, "endpoint")
    parser.add_argument("--key-type", choices=["primary", "secondary"], help="default: primary")
    parser.add_argument("--key-value", metavar="KEY", help="the new key; default: a random one")


def name_arguments(parser: argparse.ArgumentParser) -> None:
    """The name alone."""
    arguments.name(parser, "endpoint")


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint", required=False)
    arguments.file(parser, "the endpoint", required=False)
    parser.add_argument("--auth-mode", metavar="MODE", help="key (default) or aml_token")
    arguments.no_wait(parser)


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "endpoint", required=False)
    arguments.file(parser, "the endpoint", required=False)
    parser.add_argument("-r", "--traffic", type=arguments.traffic, metavar="SHARES", help='such as "blue=90 green=10"')
    parser.add_argument("--mirror-traffic", type=arguments.traffic, metavar="SHARE", help='such as "green=10"')
    arguments.no_wait(parser)


def _load(
    context: Context, source: Path | manifest.Text, overrides: list[str], otherwise: str
) -> manifest.ManifestEndpoint:
    """The endpoint in ``source``. One of the 2021 form is refused, with what it ``otherwise`` takes as the hint."""
    loaded = manifest.load_endpoint(source, overrides)
    if loaded.value.deployments:
        named = source.name if isinstance(source, manifest.Text) else source
        hint = f"{otherwise} the endpoint with its deployments"
        raise UsageError(f"{named} has deployments inside, the 2021 form", hint=hint)
    changes.note_all(context, loaded.notes)
    return loaded.value


def _takes_tokens(context: Context, name: str) -> bool:
    return context.client.endpoints.get(name).auth_mode == AUTH_MODE_AML_TOKEN


def _changed(context: Context, name: str, parsed: argparse.Namespace) -> tuple[Endpoint, set[str]]:
    """What ``--set`` makes of the endpoint as it is, and the fields to send: those that differ, or else any one."""
    now = context.client.endpoints.get(name)
    overrides = arguments.sets(parsed)
    if not overrides:
        return Endpoint(), set()
    shown = shapes.endpoint(now, ())
    text = json.dumps({key: shown[key] for key in ("name", "auth_mode", *_UPDATABLE)})
    endpoint = manifest.load_endpoint(manifest.Text(text, f"the endpoint '{name}'", Path.cwd()), overrides).value
    if endpoint.name != name or endpoint.deployments:
        raise UsageError("a name and deployments inside cannot be given by --set")
    wanted = convert.endpoint_message(endpoint)
    wanted.etag = now.etag
    wanted.retained.update({**now.retained, **wanted.retained})
    return wanted, {f for f in (*_UPDATABLE, "retained") if getattr(wanted, f) != getattr(now, f)} or {"description"}


COMMANDS = (
    Command("create", "Create an endpoint.", create, _create_arguments, TABLE),
    Command("show", "Show an endpoint.", show, name_arguments, TABLE),
    Command("list", "List the endpoints.", list_, columns=TABLE),
    Command("update", "Change an endpoint, such as its traffic.", update, _update_arguments, TABLE),
    Command("delete", "Delete an endpoint with its deployments.", delete, delete_arguments),
    Command("invoke", "Send a request to an endpoint.", invoke, invoke_arguments),
    Command("metrics", "Show requests, latencies and load.", metrics.metrics, name_arguments, metrics.TABLE),
    Command("get-credentials", "Show an endpoint's keys, or a new token.", get_credentials, name_arguments),
    Command(
        "regenerate-keys",
        "Replace one of the keys, or end all tokens.",
        regenerate_keys,
        regenerate_arguments,
    ),
)
