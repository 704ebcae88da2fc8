"""Logs: the script's ``print`` and ``logging`` as they come, ours beside them on stderr.

As text, the scorer configures its own logger only. The root logger belongs to the script, so whatever it configures
is shown once. As JSON (``PENSTOCK_LOG_FORMAT=json``), the root logger writes JSON too, with the id of the request that
was served when the line was written; what is printed stays as it is. A ``logging.json`` beside the script (or in the
application root) overrides everything, as it always has.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO, cast

from penstock_scorer.errors import SettingsError
from penstock_scorer.telemetry import serving

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, process, message; the request, the trace and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)  # noqa: UP017 - Python 3.10 has no UTC
        fields = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **serving.identity(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure(level: str, folders: tuple[Path, ...], *, as_json: bool = False) -> None:
    """Flush streams at each line, set up our logger, apply the first ``logging.json`` of ``folders``.

    Args:
        level: Of our logger; as JSON, of the root logger too.
        folders: Where a ``logging.json`` may be.
        as_json: Whether lines are JSON.

    Raises:
        SettingsError: the level or a ``logging.json`` is wrong.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    handler = logging.StreamHandler(cast("TextIO", sys.stderr))
    formatter = JsonFormatter() if as_json else logging.Formatter(_FORMAT)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("penstock_scorer")
    logger.handlers = [handler]
    logger.propagate = False
    try:
        logger.setLevel(level.upper())
    except ValueError:
        raise SettingsError(f"AZUREML_LOG_LEVEL is {level!r}, not the name of a logging level.") from None
    if as_json:
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(logger.level)
        logging.getLogger("_granian").setLevel(logging.WARNING)  # it says that it stops, and so do we
    for folder in folders:
        path = folder / "logging.json"
        if path.is_file():
            try:
                logging.config.dictConfig({"disable_existing_loggers": False, **json.loads(path.read_text("utf-8"))})
            except (ValueError, TypeError, AttributeError, ImportError) as error:
                raise SettingsError(f"{path} is not a logging configuration: {error}") from error
            return
