"""How the control plane logs: structlog, one event per line, standard-library loggers included."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from controlplane.settings import LogFormat, LogLevel


def configure_logging(level: LogLevel, form: LogFormat, stream: TextIO = sys.stderr) -> None:
    """Log from ``level`` on to ``stream``. Call it once, before anything logs."""
    as_json = form is LogFormat.JSON or (form is LogFormat.AUTO and not stream.isatty())
    number = getattr(logging, level.name)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # Quiet what speaks of its own workings at INFO.
    for chatty in ("alembic", "sqlalchemy", "grpc"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))
