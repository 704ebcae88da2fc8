"""The bodies and headers of answers, encoded once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

FAILED = "x-ms-run-function-failed"
CONTENT_JSON = ("content-type", "application/json")
RUN_OK = (FAILED, "False")
JSON_HEADERS: Headers = [CONTENT_JSON, RUN_OK]

NOT_FOUND = (
    "The requested URL was not found on the server. "
    "If you entered the URL manually please check your spelling and try again."
)
NOT_ALLOWED = "The method is not allowed for the requested URL."
SCRIPT_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
INTERNAL = "An unexpected internal error occurred. Check the logs for more info."
OVERLOADED = "Too many requests: every slot of this instance is busy. Try again later."
TOO_LARGE = "The request body is larger than the {} bytes that this instance takes."
INCOMPLETE = "The request body did not arrive whole, or has trailers."
TOO_LONG = "The answer took too long."
EXPIRED = "The caller's deadline passed before the request could be started."


def error(message: str) -> bytes:
    """``{"message": ...}``."""
    return json.dumps({"message": message}).encode("ascii")


def message(body: bytes) -> str:
    """The message of a body that :func:`error` made."""
    text: str = json.loads(body)["message"]
    return text


def headers(*, failed: bool = False, extra: Headers | None = None, tail: Headers | None = None) -> Headers:
    """Headers of a JSON error."""
    return [CONTENT_JSON, (FAILED, "True" if failed else "False"), *(extra or ()), *(tail or ())]
