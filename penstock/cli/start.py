"""Where ``penstock`` begins: before anything else is imported, so that Ctrl-C never shows a traceback of ours."""

from __future__ import annotations

import signal
import sys

# Nothing has begun that would have to end: Ctrl-C just ends this process.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line; its exit code."""
    from penstock.cli.main import INTERRUPTED, main  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        return INTERRUPTED
