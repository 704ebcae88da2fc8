"""``penstock test-script``: try a ``score.py`` in place, in this Python, before anything is deployed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from penstock.cli.command import Command
from penstock.cli.context import Context
from penstock.errors import ScriptTrialError


def try_script(_context: Context, parsed: argparse.Namespace) -> None:
    """Run `init` once and `run` on the request, with timings; fail when the script does."""
    # The scorer's own code does it, so that what is printed is what a client would get.
    from penstock_scorer.development import test_script as trial  # noqa: PLC0415

    request = parsed.request_file.read_bytes() if parsed.request_file else b"{}"
    report = trial(parsed.script, model_dir=parsed.model_dir, request=request, repeat=parsed.repeat)
    sys.stdout.write(report.text())
    if not report.ok:
        raise ScriptTrialError(f"{parsed.script} does not answer this request", hint="the report above says why")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("script", type=_file, metavar="SCRIPT", help="the script with init() and run()")
    parser.add_argument("-m", "--model-dir", type=Path, metavar="DIR", help="what AZUREML_MODEL_DIR will name")
    parser.add_argument("-r", "--request-file", type=_file, metavar="FILE", help="the request's body; default: {}")
    parser.add_argument("--repeat", type=_count, default=1, metavar="N", help="how often to run it; default: 1")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file '{text}'")
    return path


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no count: 1 or more")
    return int(text)


COMMANDS = (Command("test-script", "Try a scoring script in place, without a server.", try_script, _arguments),)
