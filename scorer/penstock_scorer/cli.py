"""``penstock-scorer``: the command line. Reads the settings and hands over to the supervisor."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_scorer import __version__
from penstock_scorer.configuration import resolve
from penstock_scorer.errors import ScorerError
from penstock_scorer.settings import Settings
from penstock_scorer.supervision.failure import report
from penstock_scorer.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop.

    Returns:
        0: drained; 1: wrong settings, address in use; 3: the script cannot be served.
    """
    flags = vars(_parser().parse_args(arguments))
    failure_file = os.environ.get("PENSTOCK_FAILURE_FILE")
    try:
        settings = resolve(flags, os.environ, Path.cwd())
        if flags["reload"]:
            return _reload(flags, settings)
        return Supervisor(settings).run()
    except ScorerError as error:
        report(error, Path(failure_file) if failure_file else None)
        return 1


def _reload(flags: dict[str, Any], settings: Settings) -> int:
    from penstock_scorer.development.reload import Reloader  # noqa: PLC0415 - development only

    folders = (settings.entry_script.parent, *((settings.source_dir,) if settings.source_dir else ()))

    def serve() -> int:
        try:
            return Supervisor(resolve(flags, os.environ, Path.cwd())).run()
        except ScorerError as error:
            report(error, settings.failure_file)
            return 1

    return Reloader(serve, folders).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock-scorer", description="Serve a score.py with init() and run().", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"penstock-scorer {__version__}")
    parser.add_argument("--entry_script", metavar="FILE", help="the script to serve")
    parser.add_argument("--model_dir", metavar="DIR", help="shown to the script as AZUREML_MODEL_DIR")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (default 5001)")
    parser.add_argument("--uds", metavar="PATH", help="listen on this Unix socket instead of a port")
    parser.add_argument("--health_port", metavar="PORT", help="answer GET / on this port too")
    parser.add_argument("--grpc_port", metavar="PORT", help="serve the Open Inference Protocol over gRPC on this port")
    parser.add_argument("--grpc_uds", metavar="PATH", help="serve it on this Unix socket instead")
    parser.add_argument("--tls_cert", metavar="FILE", help="speak TLS on the ports with this certificate (PEM)")
    parser.add_argument("--tls_key", metavar="FILE", help="its key (PEM); both may be in one file")
    parser.add_argument(
        "--tls_client_ca", metavar="FILE", help="take clients alone whose certificate this authority signed"
    )
    parser.add_argument("--worker_count", metavar="N", help="worker processes (default 1)")
    parser.add_argument("--access_control_allow_origins", metavar="A,B", help="origins that may call from a browser")
    parser.add_argument("--config_file", metavar="FILE", help="JSON with the names of environment variables as keys")
    parser.add_argument("--reload", action="store_true", help="start again whenever a file of the script's changes")
    parser.add_argument("--appinsights_instrumentation_key", metavar="KEY", help="accepted; telemetry is at /metrics")
    return parser


if __name__ == "__main__":
    sys.exit(main())
