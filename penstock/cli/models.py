"""``penstock model``: registered models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from penstock import manifest
from penstock.cli import arguments, changes, shapes
from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.errors import UsageError

_TABLE = Columns((("Name", "name"), ("Version", "version"), ("Type", "type"), ("Description", "description")))


def create(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Register a model from a file that describes it, or from a name and a path."""
    if parsed.file is None and not (parsed.name and parsed.path):
        raise UsageError("give the model's file with --file, or its --name and --path")
    source = parsed.file or manifest.Text("{}", "the command line", Path.cwd())
    path = str(Path(parsed.path).absolute()) if parsed.path else ""
    given = {"name": parsed.name, "version": parsed.version, "path": path, "type": parsed.type}
    overrides = arguments.flags({key: value for key, value in given.items() if value})
    loaded = manifest.load_model(source, [*arguments.sets(parsed), *overrides])
    changes.note_all(context, loaded.notes)
    with context.console.working(f"registering model '{loaded.value.name}'") as say:
        return shapes.model(context.client.publisher.model(loaded.value, progress=say))


def show(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show one version, by default the latest."""
    return shapes.model(context.client.models.get(parsed.name, parsed.version or "latest"))


def list_(context: Context, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """List models, or one model's versions."""
    return [shapes.model(m) for m in context.client.models.list(parsed.name or "-")]


def delete(context: Context, parsed: argparse.Namespace) -> None:
    """Delete a version no deployment uses."""
    changes.confirm(context, f"Delete version {parsed.version} of the model '{parsed.name}'?", yes=parsed.yes)
    context.client.models.delete(parsed.name, parsed.version)


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "model", required=False)
    parser.add_argument("-v", "--version", help="the version; default: the next number")
    parser.add_argument("-p", "--path", help="the model's file or folder")
    parser.add_argument("-t", "--type", help="custom_model (default)")
    arguments.file(parser, "the model", required=False)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "model")
    parser.add_argument("-v", "--version", help="the version; default: the latest")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "model", required=False)


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "model")
    parser.add_argument("-v", "--version", required=True, help="the version")
    arguments.yes(parser)


COMMANDS = (
    Command("create", "Register a model.", create, _create_arguments, _TABLE),
    Command("show", "Show a model.", show, _show_arguments, _TABLE),
    Command("list", "List the models.", list_, _list_arguments, _TABLE),
    Command("delete", "Delete a version no deployment uses.", delete, _delete_arguments),
)
