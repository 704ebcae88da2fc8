"""``AMLRequest`` and ``AMLResponse``: the HTTP request and answer a ``@rawhttp`` script handles itself.

They have Werkzeug's semantics because such scripts were written against them, so Werkzeug is needed: the
extra ``penstock-scorer[rawhttp]``. Nothing else of the scorer imports this module before a script asks for
it.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

try:
    from werkzeug.wrappers import Request, Response
except ImportError as error:
    raise ImportError(
        "@rawhttp, AMLRequest and AMLResponse need Werkzeug: install penstock-scorer[rawhttp] (or werkzeug>=2.3)."
    ) from error

FAILED_HEADER = "x-ms-run-function-failed"


class AMLRequest(Request):
    """The request as ``run`` sees it: method, headers, args, full_path, data, files, form, json."""


class AMLResponse(Response):
    """An answer of the script's own making.

    Args:
        message: The body; ``None`` is an empty JSON object.
        status_code: HTTP status; 500 and above count as a failed run.
        response_headers: Added to the answer; a comma separates repeated values.
        json_str: Whether ``message`` is to be encoded as JSON.
        run_function_failed: Value of the header ``x-ms-run-function-failed``.
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        headers = response_headers or {}
        if message is None or json_str:
            body = json.dumps({} if message is None else message)
            super().__init__(body, status=status_code, mimetype="application/json")
        else:
            super().__init__(message, status=status_code, mimetype="text/html")
            if "Content-Type" in headers:
                self.headers.remove("Content-Type")
        self.headers[FAILED_HEADER] = str(run_function_failed)
        for name, value in headers.items():
            for part in value.split(","):
                self.headers.add(name, part.strip())


def build_request(
    *, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes, scheme: str = "http"
) -> AMLRequest:
    """An ``AMLRequest`` for one request taken off the wire."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8").decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": quote(path, safe="/%:@!$&'()*+,;=~") + (f"?{query}" if query else ""),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
    }
    for name, value in headers:
        if "_" in name:
            continue  # in WSGI's spelling it would pass for the name with hyphens
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return request_class()(environ)


def request_class() -> type[AMLRequest]:
    """``AMLRequest``; where the script imported Flask, one that is Flask's ``Request`` too."""
    flask = sys.modules.get("flask")
    return AMLRequest if flask is None else _flask_request_class(flask)


@functools.cache
def _flask_request_class(flask: ModuleType) -> type[AMLRequest]:
    return type("AMLRequest", (AMLRequest, flask.Request), {"__doc__": AMLRequest.__doc__})
