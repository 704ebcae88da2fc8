"""Flask's ``request``, ``current_app``, ``g`` and ``jsonify`` inside ``@rawhttp`` scripts.

Such scripts were written for a server that is a Flask application, so many use Flask without naming an
application. Where the script has imported Flask there is one around each call of ``run``; where it has not,
Flask is never imported, and a call costs one look into a dict.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_KEY = "penstock.request"


def in_flask_context(run: Callable[..., Any], parameter: str) -> Callable[..., Any]:
    """``run``, called inside a Flask request context for the request it is given as ``parameter``.

    As in Flask, a generator that is returned runs after the context has gone (``stream_with_context`` keeps it),
    and so does a coroutine: an ``async def`` is returned as it is.
    """
    if inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run):
        return run

    @functools.wraps(run)
    def call(**arguments: Any) -> Any:
        flask = sys.modules.get("flask")
        if flask is None:
            return run(**arguments)
        request = arguments[parameter]
        request.environ[_KEY] = request
        with _application(flask).request_context(request.environ):
            return run(**arguments)

    return call


@functools.cache
def _application(flask: ModuleType) -> Any:
    application = flask.Flask("entry_module", static_folder=None)
    # The context adopts the request that run() receives: a second one would find the body already read.
    application.request_class = lambda environ: environ[_KEY]
    return application
