"""The access log: one line for each answer, on stdout, where ``PENSTOCK_ACCESS_LOG`` asks for it.

Only a request that is logged is wrapped; without the log the wrapper does not exist. The query is left out: clients
put inputs and credentials there.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from penstock_scorer.telemetry import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers, Sink
    from penstock_scorer.http.front import Incoming


class Seen(Protocol):
    """What is logged of a request, whatever it came by."""

    @property
    def method(self) -> str:
        """As HTTP names it."""

    @property
    def path(self) -> str:
        """Without the query."""

    @property
    def header(self) -> Callable[[str], Any]:
        """The first value of a header (name in lower case), or None."""


class AccessLog:
    """Writes lines; as JSON, or in the words of the common log format with the milliseconds and the request id.

    Args:
        write: Takes one line.
        as_json: One JSON object a line.
        clock: Seconds, monotonic.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        as_json: bool,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._as_json = as_json
        self._clock = clock
        self._wall = wall

    def watch(self, request: Incoming) -> Incoming:
        """The same request, whose answer will be logged."""
        return _Watched(request, self, self._clock())

    def answered(self, request: Seen, began: float, status: int, headers: Headers, size: int | None) -> None:
        """Write the line of one answer; ``size`` is None where it is streamed. Never raises."""
        sent = dict(headers)
        context = trace.parse(request.header("traceparent"))
        now = datetime.fromtimestamp(self._wall(), timezone.utc)  # noqa: UP017 - Python 3.10 has no UTC
        fields = {
            "time": now.isoformat(timespec="milliseconds"),
            "method": request.method,
            "path": request.path,
            "status": status,
            "bytes": size,
            "duration_ms": round((self._clock() - began) * 1000, 3),
            "request_id": sent.get("x-request-id"),
            "client_request_id": sent.get("x-ms-client-request-id"),
            "client": request.header("x-penstock-client"),
            "trace_id": context.trace_id if context else None,
        }
        try:
            self._write(self._line(fields))
        except (OSError, ValueError):
            return  # a full disk or a closed pipe must cost no caller an answer

    def _line(self, fields: dict[str, Any]) -> str:
        if self._as_json:
            return json.dumps({name: value for name, value in fields.items() if value is not None}) + "\n"
        text = {name: "-" if value is None else value for name, value in fields.items()}
        path = json.dumps(text["path"])[1:-1]  # no line breaks, no escape sequences for a terminal
        return (
            f"{text['time']} {text['method']} {path} {text['status']} {text['bytes']} {text['duration_ms']}ms "
            f"{text['request_id']}\n"
        )


class _Watched:
    """A request that says how it was answered."""

    def __init__(self, request: Incoming, log: AccessLog, began: float) -> None:
        self._request = request
        self._log = log
        self._began = began

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._request.respond(status, headers, body)
        self._log.answered(self._request, self._began, status, headers, len(body))

    def reject(self, status: int, headers: Headers, body: bytes) -> None:
        self._request.reject(status, headers, body)
        self._log.answered(self._request, self._began, status, headers, len(body))

    def stream(self, status: int, headers: Headers) -> Sink:
        sink = self._request.stream(status, headers)
        self._log.answered(self._request, self._began, status, headers, None)
        return sink

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)
