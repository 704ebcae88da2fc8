"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.cli.output import Format, check
from penstock.errors import PenstockError


def common(parser: argparse.ArgumentParser) -> None:
    """What every command takes."""
    parser.add_argument("-o", "--output", type=Format, choices=list(Format), default=Format.JSON, metavar="FORMAT",
                        help="json (default), yaml, table or tsv")  # fmt: skip
    parser.add_argument("--query", type=check, metavar="JMESPATH", help="print only what this expression finds")
    parser.add_argument("--only-show-errors", action="store_true", help="no progress and no notes")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    for flags in (("-g", "--resource-group"), ("-w", "--workspace-name"), ("--subscription",)):
        parser.add_argument(*flags, dest="azure", action="append", help=argparse.SUPPRESS)


def name(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """``-n``."""
    parser.add_argument("-n", "--name", required=required, help=f"the {what}'s name")


def endpoint_name(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """``-e``."""
    parser.add_argument("-e", "--endpoint-name", required=required, metavar="ENDPOINT", help="the endpoint's name")


def file(parser: argparse.ArgumentParser, what: str, *, required: bool) -> None:
    """``-f`` and ``--set``."""
    parser.add_argument("-f", "--file", type=Path, required=required, metavar="FILE", help=f"the YAML file of {what}")
    parser.add_argument("--set", action="append", nargs="+", default=[], dest="sets", metavar="PATH=VALUE",
                        help="a value that overrides the file's, such as instance_count=2")  # fmt: skip


def no_wait(parser: argparse.ArgumentParser) -> None:
    """``--no-wait``."""
    parser.add_argument("--no-wait", action="store_true", help="return once the change is accepted")


def yes(parser: argparse.ArgumentParser) -> None:
    """``--yes``."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def sets(arguments: argparse.Namespace) -> list[str]:
    """The ``--set`` arguments, whether given together or apart."""
    return [item for group in arguments.sets for item in group]


def flags(given: Mapping[str, Any]) -> list[str]:
    """What was ``given`` by flags of their own, key to value, as overrides of a file; None means not given."""
    from penstock.manifest import Flag  # noqa: PLC0415 - 0.1 s that `up` need not wait for

    return [Flag.of(f"--{key.replace('_', '-')}", key, value) for key, value in given.items() if value is not None]


def traffic(text: str) -> dict[str, int]:
    """A traffic argument, for argparse's ``type``."""
    from penstock.manifest.traffic import parse_traffic  # noqa: PLC0415 - 0.1 s that `up` need not wait for

    try:
        return parse_traffic(text)
    except PenstockError as error:
        raise argparse.ArgumentTypeError(f"{error}; {error.hint}" if error.hint else str(error)) from None
