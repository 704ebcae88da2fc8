"""What the head of a request says, once it is known to say only one thing."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

_LONGEST_KNOWN = 256
"""Bytes of a target that is remembered."""


class AmbiguousError(Exception):
    """Another server may read this head otherwise, or it is of neither HTTP/1.1 nor HTTP/1.0."""


class Head:
    """Method, target and headers of one request.

    Args:
        fields: Every header, names in lower case.
        first: The first value of each.
        version: Of HTTP: ``1.1`` or ``1.0``.
        keep: Whether the connection stays open behind the answer, as far as the client is concerned.
    """

    __slots__ = ("fields", "first", "keep", "method", "path", "query", "version")

    def __init__(  # noqa: PLR0917 - made for every request: keywords would cost as much as the rest of it
        self, method: str, path: str, query: str, fields: Headers, first: dict[str, str], version: str, keep: bool
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.first = first
        self.version = version
        self.keep = keep

    @classmethod
    def judged(cls, method: str, target: bytes, fields: Headers, version: str, *, keep: bool) -> Head:
        """One that llhttp let through.

        Raises:
            AmbiguousError: it has two hosts, or a body whose end another server may see elsewhere.
        """
        if version not in {"1.1", "1.0"}:
            raise AmbiguousError
        first = dict(reversed(fields))
        if len(first) < len(fields) and sum(name == "host" for name, _ in fields) > 1:
            raise AmbiguousError
        if "transfer-encoding" in first and (first["transfer-encoding"].lower() != "chunked" or version == "1.0"):
            raise AmbiguousError
        path, query = split(target) if len(target) <= _LONGEST_KNOWN else split.__wrapped__(target)
        return cls(method, path, query, fields, first, version, keep)


@lru_cache(maxsize=256)
def split(target: bytes) -> tuple[str, str]:
    """Path and query of a request's target. Those of most requests are the same few."""
    if not target.startswith(b"/"):
        try:
            parsed = httptools.parse_url(target)
            path, query = parsed.path or b"/", parsed.query or b""
        except httptools.HttpParserInvalidURLError:
            path, query = target, b""
    else:
        path, _, query = target.partition(b"#")[0].partition(b"?")
    text = path.decode("latin-1")
    return (unquote(text) if "%" in text else text), query.decode("latin-1")
