"""``penstock gateway enroll`` and ``expel``: gateways on other machines.

The work is a process of its own, ``python -m controlplane.enroll``, as that of ``penstock up`` is; the authority that
signs is in the home, so it runs on the control plane's machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from penstock.cli import platform
from penstock.cli.command import Command
from penstock.cli.context import Context
from penstock.cli.machine import cause
from penstock.errors import PlatformError
from penstock.settings import DEFAULT_GATEWAY_PORT, DEFAULT_TLS_PORT, child_environment

_DAYS = 30


def enroll(context: Context, parsed: argparse.Namespace) -> dict[str, Any]:
    """Write what a gateway on another machine is started with; again, to renew its certificate."""
    folder: Path = (parsed.directory or Path(parsed.name)).expanduser().absolute()
    options = ["--output", str(folder), "--listen", parsed.listen, "--tls-port", str(parsed.tls_port)]
    options += ["--days", str(parsed.days)]
    if parsed.control_plane:
        options += ["--control-plane", parsed.control_plane]
    _run(context, parsed, *options)
    context.console.done(f"{parsed.name} is enrolled for {parsed.days} days")
    context.console.note(f"copy {folder} to its machine, keep it private, and start Envoy in it")
    context.console.note("docs/several-machines.md says how")
    return {"name": parsed.name, "directory": str(folder), "listen": parsed.listen, "days": parsed.days}


def expel(context: Context, parsed: argparse.Namespace) -> None:
    """Let a gateway on another machine connect no more."""
    _run(context, parsed, "--expel")
    context.console.done(f"{parsed.name} is let in no more")


def _run(context: Context, parsed: argparse.Namespace, *options: str) -> None:
    home: Path = parsed.home.expanduser().absolute() if parsed.home is not None else context.settings.home
    done = subprocess.run(
        [sys.executable, "-m", "controlplane.enroll", *options, "--", parsed.name],
        env=child_environment({"PENSTOCK_HOME": str(home)}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sentence, detail = cause(done.stderr, "the gateway was not changed")
        raise PlatformError(sentence, detail=detail)


def _enroll_arguments(parser: argparse.ArgumentParser) -> None:
    _expel_arguments(parser)
    parser.add_argument(
        "-d", "--directory", type=Path, metavar="DIR", help="the folder to write; default: one of the gateway's name"
    )
    parser.add_argument(
        "--control-plane", metavar="HOST:PORT", help="where it finds the control plane; default: --ads-address of `up`"
    )
    parser.add_argument(
        "--listen",
        default=f"0.0.0.0:{DEFAULT_GATEWAY_PORT}",
        metavar="ADDRESS:PORT",
        help=f"where clients reach it; default: 0.0.0.0:{DEFAULT_GATEWAY_PORT}",
    )
    parser.add_argument(
        "--tls-port", type=platform.port, default=DEFAULT_TLS_PORT, metavar="PORT", help="likewise, with TLS"
    )
    parser.add_argument("--days", type=_days, default=_DAYS, help=f"validity of its certificate; default: {_DAYS}")


def _expel_arguments(parser: argparse.ArgumentParser) -> None:
    platform.home_argument(parser)
    parser.add_argument("name", metavar="NAME", help="the gateway's name")


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3650:  # noqa: PLR2004 - ten years
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days: 1 to 3650")
    return int(text)


COMMANDS = (
    Command(
        "enroll", "Let a gateway on another machine in, and write what it is started with.", enroll, _enroll_arguments
    ),
    Command("expel", "Let a gateway on another machine in no more.", expel, _expel_arguments),
)
