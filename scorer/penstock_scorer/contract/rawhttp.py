"""The ``@rawhttp`` mark, apart from the classes that need Werkzeug, so that asking for it costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

_Run = TypeVar("_Run", bound=Callable[..., Any])

# Modules whose @rawhttp was used instead of ours, where the real packages are installed.
_REAL_MODULES = ("azureml_inference_server_http.api.aml_request", "azureml.contrib.services.aml_request")
_marked: list[Callable[..., Any]] = []


def rawhttp(run: _Run) -> _Run:
    """Mark ``run``: it receives the request itself, an ``AMLRequest``."""
    _marked.append(run)
    return run


def requested() -> bool:
    """Whether the script loaded in this process used ``@rawhttp``, ours or a real package's."""
    return bool(_marked) or any(getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in _REAL_MODULES)


def forget() -> None:
    """Drop the mark, before another script is loaded in the same process."""
    _marked.clear()
