"""From the command line's words to a command, and from what it returns or raises to stdout, stderr and an exit code."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from penstock.cli import (
    arguments,
    endpoint_2021,
    environments,
    models,
    online_deployment,
    online_endpoint,
    platform,
)
from penstock.cli.arguments import UsageError
from penstock.cli.command import Command, Group, Raw
from penstock.cli.console import Console
from penstock.cli.context import Context
from penstock.cli.output import query, render
from penstock.errors import PenstockError
from penstock.settings import Settings

GROUPS: Sequence[Group] = (
    platform.GROUP,
    online_endpoint.GROUP,
    online_deployment.GROUP,
    endpoint_2021.GROUP,
    models.GROUP,
    environments.GROUP,
)

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parsed = _parser().parse_args(argv)
    console = Console(sys.stderr, quiet=parsed.only_show_errors)
    try:
        return _run(parsed.command, parsed, console)
    except BrokenPipeError:
        # Whoever read our output has read enough, as `| head` does. Nothing may be flushed to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(command: Command, parsed: argparse.Namespace, console: Console) -> int:
    context = None
    try:
        context = Context(console, Settings.read())
        if parsed.azure:
            console.note("--resource-group, --workspace-name and --subscription mean nothing here")
        _print(command.run(context, parsed), command, parsed)
    except PenstockError as error:
        if parsed.debug:
            traceback.print_exc()
        console.error(error)
        return USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        console.failed("interrupted")
        return INTERRUPTED
    finally:
        if context is not None:
            context.close()
    return DONE


def _print(result: Any, command: Command, parsed: argparse.Namespace) -> None:
    if result is None:
        return
    if isinstance(result, Raw):
        text = result.text
    else:
        found = query(result, parsed.query) if parsed.query else result
        text = render(found, parsed.output, () if parsed.query else command.columns.columns)
    sys.stdout.write(text)
    sys.stdout.flush()


class _Parser(argparse.ArgumentParser):
    """argparse, with the nearest valid word when a verb is unknown."""

    def error(self, message: str) -> NoReturn:
        for action in self._actions:
            if action.choices and isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - no public way
                word = next((w for w in message.split("'")[1:2] if w not in action.choices), "")
                near = difflib.get_close_matches(word, list(action.choices), n=1)
                if near and "invalid choice" in message:
                    message = f"there is no '{word}': did you mean '{near[0]}'?"
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="penstock", description="Managed online endpoints for machine-learning models.")
    nouns = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        if not group.name:
            _add(nouns, group.commands)
            continue
        noun = nouns.add_parser(group.name, help=group.help, description=group.help)
        _add(noun.add_subparsers(metavar="VERB", required=True), group.commands)
    return parser


def _add(verbs: Any, commands: Sequence[Command]) -> None:
    for command in commands:
        verb = verbs.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(verb)
        arguments.common(verb)
        verb.set_defaults(command=command)


if __name__ == "__main__":
    sys.exit(main())
