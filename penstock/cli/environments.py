"""``penstock environment``: registered environments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from penstock import manifest
from penstock.cli import arguments, changes, shapes
from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.errors import UsageError

_TABLE = Columns((("Name", "name"), ("Version", "version"), ("Image", "image"), ("Description", "description")))


def create(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Register an environment from a file that describes it, or from a name and a conda file."""
    if parsed.file is None and not (parsed.name and (parsed.conda_file or parsed.image)):
        raise UsageError("give the environment's file with --file, or its --name and --conda-file")
    source = parsed.file or manifest.Text("{}", "the command line", Path.cwd())
    conda_file = str(Path(parsed.conda_file).absolute()) if parsed.conda_file else ""
    given = {"name": parsed.name, "version": parsed.version, "conda_file": conda_file, "image": parsed.image}
    overrides = arguments.flags({key: value for key, value in given.items() if value})
    loaded = manifest.load_environment(source, [*arguments.sets(parsed), *overrides])
    changes.note_all(context, loaded.notes)
    return shapes.environment(context.client.publisher.environment(loaded.value))


def show(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Show one version, by default the latest."""
    return shapes.environment(context.client.environments.get(parsed.name, parsed.version or "latest"))


def list_(context: Context, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """List environments, or one environment's versions."""
    return [shapes.environment(e) for e in context.client.environments.list(parsed.name or "-")]


def delete(context: Context, parsed: argparse.Namespace) -> None:
    """Delete a version no deployment uses."""
    changes.confirm(context, f"Delete version {parsed.version} of the environment '{parsed.name}'?", yes=parsed.yes)
    context.client.environments.delete(parsed.name, parsed.version)


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "environment", required=False)
    parser.add_argument("-v", "--version", help="the version; default: the next number")
    parser.add_argument("-c", "--conda-file", help="the conda file")
    parser.add_argument("-i", "--image", help="a container image")
    arguments.file(parser, "the environment", required=False)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "environment")
    parser.add_argument("-v", "--version", help="the version; default: the latest")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "environment", required=False)


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.name(parser, "environment")
    parser.add_argument("-v", "--version", required=True, help="the version")
    arguments.yes(parser)


COMMANDS = (
    Command("create", "Register an environment.", create, _create_arguments, _TABLE),
    Command("show", "Show an environment.", show, _show_arguments, _TABLE),
    Command("list", "List the environments.", list_, _list_arguments, _TABLE),
    Command("delete", "Delete a version no deployment uses.", delete, _delete_arguments),
)
