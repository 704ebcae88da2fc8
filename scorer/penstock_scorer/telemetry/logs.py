"""Logs: the script's ``print`` and ``logging`` as they come, ours beside them on stderr.

The scorer configures its own logger only. The root logger belongs to the script, so whatever it configures is
shown once; a ``logging.json`` beside the script (or in the application root) overrides everything, as it
always has.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from typing import TYPE_CHECKING, TextIO, cast

from penstock_scorer.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s"


def configure(level: str, folders: tuple[Path, ...]) -> None:
    """Flush streams at each line, set up our logger, apply the first ``logging.json`` of ``folders``.

    Raises:
        SettingsError: the level or a ``logging.json`` is wrong.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    handler = logging.StreamHandler(cast("TextIO", sys.stderr))
    formatter = logging.Formatter(_FORMAT)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("penstock_scorer")
    logger.handlers = [handler]
    logger.propagate = False
    try:
        logger.setLevel(level.upper())
    except ValueError:
        raise SettingsError(f"AZUREML_LOG_LEVEL is {level!r}, not the name of a logging level.") from None
    for folder in folders:
        path = folder / "logging.json"
        if path.is_file():
            try:
                logging.config.dictConfig({"disable_existing_loggers": False, **json.loads(path.read_text("utf-8"))})
            except (ValueError, TypeError, AttributeError, ImportError) as error:
                raise SettingsError(f"{path} is not a logging configuration: {error}") from error
            return
