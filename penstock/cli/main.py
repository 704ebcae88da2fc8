"""From the command line's words to a command, and from what it returns or raises to stdout, stderr and an exit code."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from penstock.cli import arguments, platform, script
from penstock.cli.command import Command, Raw
from penstock.cli.console import Console
from penstock.cli.context import Context
from penstock.cli.output import query, render
from penstock.errors import PenstockError, UsageError
from penstock.settings import Settings, silence_grpc

GROUPS = {
    "online-endpoint": ("online_endpoint", "Manage online endpoints."),
    "online-deployment": ("online_deployment", "Manage the deployments behind online endpoints."),
    "endpoint": ("endpoint_2021", "Manage endpoints in the 2021 form, one file with the deployments inside."),
    "model": ("models", "Manage registered models."),
    "gateway": ("gateways", "Look at the gateways, and replace one."),
    "environment": ("environments", "Manage registered environments."),
}
"""Noun to the module in :mod:`penstock.cli` with its ``COMMANDS``. Only the module of the noun at hand is imported:
together they take 0.3 s."""

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parsed = _parser(argv[0] if argv else "").parse_args(argv)
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
        silence_grpc()
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
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect of ours, told like any other failure
        if parsed.debug:
            traceback.print_exc()
        console.failed(f"this is a defect of penstock: {type(error).__name__}: {error} (--debug shows where)")
        return FAILED
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


class _Version(argparse.Action):
    """argparse's own wants the text beforehand, and looking it up is not free."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - only when asked for

        sys.stdout.write(f"penstock {version('penstock')}\n")
        parser.exit(DONE)


def _parser(word: str) -> argparse.ArgumentParser:
    """The parser for a command line that starts with ``word``."""
    parser = _Parser(prog="penstock", description="Managed online endpoints for machine-learning models.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    nouns = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(nouns, (*platform.COMMANDS, *script.COMMANDS))
    for name, (module, text) in GROUPS.items():
        noun = nouns.add_parser(name, help=text, description=text)
        if name == word:
            commands: Sequence[Command] = import_module(f"penstock.cli.{module}").COMMANDS
            _add(noun.add_subparsers(metavar="VERB", required=True), commands)
    return parser


def _add(verbs: Any, commands: Sequence[Command]) -> None:
    for command in commands:
        verb = verbs.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(verb)
        arguments.common(verb)
        verb.set_defaults(command=command)


if __name__ == "__main__":
    sys.exit(main())
