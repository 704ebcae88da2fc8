"""The ids a request is known by, and the headers that carry them back.

The script cannot override them: they end every answer. Rules as of azureml-inference-server-http 1.5.1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

LIMIT = 100
"""Characters an id may have."""


class IdTooLongError(Exception):
    """An id has more than 100 characters (431). ``headers`` still go with the answer."""

    def __init__(self, message: str, headers: Headers) -> None:
        super().__init__(message)
        self.headers = headers


def response_headers(get: Any, common: Headers) -> Headers:
    """``common`` and the ids of a request whose headers ``get`` looks up.

    Raises:
        IdTooLongError: an id is too long.
    """
    headers = common.copy()
    request_id = get("x-request-id")
    trace_id = get("traceid")
    client_id = get("x-ms-client-request-id", "")
    legacy_id = get("x-ms-request-id", "")
    if request_id is None:
        request_id = new_id()
    elif len(request_id) > LIMIT:
        _echo(headers, trace_id)
        raise IdTooLongError(f"x-request-id must not exceed {LIMIT} characters", headers)
    if legacy_id:
        client_id = client_id or legacy_id
    else:
        legacy_id = client_id or request_id
    if request_id:
        headers.append(("x-request-id", request_id))
    if len(legacy_id) > LIMIT or len(client_id) > LIMIT:
        _echo(headers, trace_id)
        message = f"x-ms-request-id and x-ms-client-request-id must not exceed {LIMIT} characters"
        raise IdTooLongError(message, headers)
    if legacy_id:
        headers.append(("x-ms-request-id", legacy_id))
    if client_id:
        headers.append(("x-ms-client-request-id", client_id))
    _echo(headers, trace_id)
    return headers


def new_id() -> str:
    """A version 4 UUID in its text form, at a quarter of the cost of ``uuid.uuid4``."""
    try:
        digits = _digits.pop()
    except IndexError:
        digits = _more()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


_AT_ONCE = 64
_digits: list[str] = []


def _more() -> str:
    """The kernel is asked for many at a time: a call costs as much as the rest of an id."""
    drawn = os.urandom(16 * _AT_ONCE).hex()
    first, *others = (drawn[at : at + 32] for at in range(0, len(drawn), 32))
    _digits.extend(others)
    return first


# What a fork inherits its parent gives out, too.
os.register_at_fork(after_in_child=_digits.clear)


def _echo(headers: Headers, trace_id: str | None) -> None:
    if trace_id is not None:
        headers.append(("traceid", trace_id))
