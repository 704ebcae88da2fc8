"""What each row of ``docs/scorer-differences.md`` may look like in a request and its two answers.

A rule says which differences it explains; the test fails on any that is left. Each rule carries an example, so that
a row that no longer describes anything is noticed. Rows about events rather than requests are observed by functions
in ``test_differential.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scorer.tests.differential.requests import FORM, get, post
from scorer.tests.differential.servers import Reply, Request

# Everything that differs when one side answers with a result and the other with an error.
_OUTCOME = frozenset(
    {
        "status", "body", "header content-length", "header content-type", "header x-ms-run-fn-exec-ms",
        "header x-ms-run-function-failed",
    }
)  # fmt: skip
_TEXT = frozenset({"body", "header content-length"})
_IDS = frozenset({"header x-request-id", "header x-ms-request-id", "header x-ms-client-request-id", "header traceid"})
_ID_NAMES = ("x-request-id", "x-ms-request-id", "x-ms-client-request-id", "traceid")
_CORS = frozenset({"header access-control-allow-origin", "header vary"})
_EVERYTHING = (
    _OUTCOME | _IDS | _CORS | {"header connection", "header x-ms-server-version", "header location", "header allow"}
)


@dataclass(frozen=True)
class Rule:
    """One row: when it applies, what it then explains, and where it can be seen."""

    applies: Callable[[str, Request, Reply, Reply], bool]
    explains: frozenset[str]
    example: tuple[str, Request]


def _keep_alive(_service: str, _request: Request, peer: Reply, ours: Reply) -> bool:
    return peer["connection"] == "close" and ours["connection"] is None


def _form_body(service: str, request: Request, _peer: Reply, ours: Reply) -> bool:
    kind = (request.sent("content-type") or "").lower()
    form = "x-www-form-urlencoded" in kind or "multipart/form-data" in kind
    return service in _UNDECORATED and form and ours.status in (200, 400, 500)


def _numpy_result(service: str, _request: Request, peer: Reply, ours: Reply) -> bool:
    return service == "results" and peer.status == 500 and ours.status == 200


def _werkzeug_response(_service: str, request: Request, peer: Reply, ours: Reply) -> bool:
    return "do=werkzeug" in request.target and (peer.status, ours.status) == (500, 200)


def _not_utf8_json(service: str, request: Request, peer: Reply, ours: Reply) -> bool:
    return _told_400(service, peer, ours) and not _is_text(request.body or b"")


def _deep_json(service: str, _request: Request, peer: Reply, ours: Reply) -> bool:
    return _told_400(service, peer, ours) and b"recursion" in ours.body


def _renamed_parameter(service: str, _request: Request, peer: Reply, ours: Reply) -> bool:
    return service == "renamed" and (
        (peer.status == 400 and ours.status == 200)
        or b"'data' parameter" in ours.body
        or (peer.status == ours.status == 200 and b"raw_data" in peer.body and b"raw_data" not in ours.body)
    )


def _own_timeout_error(service: str, request: Request, peer: Reply, _ours: Reply) -> bool:
    return service == "failing" and request.body == b"timeout" and b"Scoring timeout" in peer.body


def _sys_exit(service: str, request: Request, peer: Reply, ours: Reply) -> bool:
    return service == "failing" and request.body == b"exit" and b"<html>" in peer.body and ours.status == 500


def _doubled_slashes(_service: str, request: Request, _peer: Reply, ours: Reply) -> bool:
    return "//" in request.target.partition("?")[0] and ours.status == 404


def _repeated_id(_service: str, request: Request, _peer: Reply, _ours: Reply) -> bool:
    sent = [name.lower() for name, _ in request.headers]
    return any(sent.count(name) > 1 for name in _ID_NAMES)


def _script_trace_id(_service: str, request: Request, peer: Reply, ours: Reply) -> bool:
    return "do=ids" in request.target and ours["traceid"] == request.sent("traceid") != peer["traceid"]


def _cors_patterns(service: str, _request: Request, _peer: Reply, _ours: Reply) -> bool:
    return service == "cors_pattern"


def _swagger_words(_service: str, request: Request, peer: Reply, ours: Reply) -> bool:
    if not request.target.startswith("/swagger.json") or not peer.status == ours.status == 200:
        return False
    return request.method == "HEAD" or _meaning(json.loads(peer.body)) == _meaning(json.loads(ours.body))


_UNDECORATED = frozenset(
    {"undecorated", "headers", "results", "failing", "timeout", "cors", "cors_one", "cors_pattern"}
)
_DECORATED = frozenset({"numpy", "pandas", "standard", "renamed"})

RULES = {
    "keep-alive": Rule(_keep_alive, frozenset({"header connection"}), ("undecorated", get())),
    "form-body": Rule(_form_body, _OUTCOME, ("undecorated", post(b"a=1", FORM))),
    "numpy-result": Rule(_numpy_result, _OUTCOME, ("results", post(b"ndarray"))),
    "werkzeug-response": Rule(_werkzeug_response, _OUTCOME, ("raw", get("/score?do=werkzeug"))),
    "not-utf8-json": Rule(_not_utf8_json, _OUTCOME, ("numpy", post(b'{"\xff": 1}'))),
    "deep-json": Rule(_deep_json, _OUTCOME, ("numpy", post(b"[" * 2000))),
    "renamed-parameter": Rule(_renamed_parameter, _OUTCOME, ("renamed", post({"data": [[1, 2]]}))),
    "own-timeout-error": Rule(_own_timeout_error, _TEXT, ("failing", post(b"timeout"))),
    "sys-exit": Rule(_sys_exit, _OUTCOME | _IDS | {"header x-ms-server-version"}, ("failing", post(b"exit"))),
    "doubled-slashes": Rule(
        _doubled_slashes,
        _EVERYTHING,
        ("undecorated", get("//")),
    ),
    "repeated-id": Rule(
        _repeated_id, _IDS, ("undecorated", get("/score", ("x-request-id", "a"), ("x-request-id", "b")))
    ),
    "script-trace-id": Rule(
        _script_trace_id, frozenset({"header traceid"}), ("raw", get("/score?do=ids", ("TraceId", "theirs")))
    ),
    "cors-patterns": Rule(
        _cors_patterns, _CORS, ("cors_pattern", get("/score", ("Origin", "https://x.a.example.evil")))
    ),
    "swagger-words": Rule(_swagger_words, _TEXT, ("undecorated", get("/swagger.json"))),
}


def explain(service: str, request: Request, peer: Reply, ours: Reply, found: set[str]) -> tuple[set[str], set[str]]:
    """Which rows explain the differences found, and what no row explains."""
    rows, left = set(), set(found)
    for row, rule in RULES.items():
        if rule.explains & found and rule.applies(service, request, peer, ours):
            rows.add(row)
            left -= rule.explains
    return rows, left


def _told_400(service: str, peer: Reply, ours: Reply) -> bool:
    return service in _DECORATED and (peer.status, ours.status) == (500, 400)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _meaning(document: Any) -> Any:
    """What clients are generated from: schemas, operations, and all of the scoring operation but its prose."""
    paths = {
        path: methods if path.endswith("/score") else {name: found["operationId"] for name, found in methods.items()}
        for path, methods in document["paths"].items()
    }
    return _bare({**document, "paths": paths})


def _bare(document: Any) -> Any:
    if isinstance(document, dict):
        return {
            key: _bare(value)
            for key, value in document.items()
            if not (key == "description" and isinstance(value, str)) and (key, value) != ("format", "string")
        }
    return [_bare(item) for item in document] if isinstance(document, list) else document
