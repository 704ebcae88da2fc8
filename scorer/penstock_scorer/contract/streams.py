"""Results that come piece by piece: what counts as one, and how its pieces are written.

A generator or an iterator, plain or asynchronous, is streamed. The format is the script's where it returns a
:class:`Stream`; else server-sent events for a client that accepts them; else it follows from the first piece:
text as it is, bytes as they are, anything else as one line of JSON each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

from penstock_scorer.contract.results import to_json

EVENTS = "text/event-stream"
_TEXT = "text/plain; charset=utf-8"
_LINES = "application/x-ndjson"
_BYTES = "application/octet-stream"


class Stream:
    """A streamed result with a content type of the script's choice.

    Args:
        chunks: Plain or asynchronous. ``bytes`` are sent as they are; as events, everything else becomes the
            ``data`` of one event each: text line by line, other values as JSON.
        content_type: The answer's; server-sent events by default.
    """

    def __init__(self, chunks: Iterable[Any] | AsyncIterable[Any], content_type: str = EVENTS) -> None:
        self.chunks = chunks
        self.content_type = content_type


def is_stream(result: Any) -> bool:
    """Whether ``result`` is sent piece by piece."""
    return isinstance(result, (Stream, Iterator, AsyncIterator))


def chunks_of(result: Any) -> Iterator[Any] | AsyncIterator[Any]:
    """The pieces of a result that is a stream."""
    source = result.chunks if isinstance(result, Stream) else result
    return aiter(source) if isinstance(source, AsyncIterable) else iter(source)


class Format:
    """How the pieces of one stream are written.

    Args:
        result: What ``run`` returned.
        accepts: The client's ``accept`` header.
        first: The first piece, which decides where neither the script nor the client does.
    """

    def __init__(self, result: Any, accepts: str, first: Any) -> None:
        if isinstance(result, Stream):
            self.content_type = result.content_type
        elif EVENTS in accepts:
            self.content_type = EVENTS
        elif isinstance(first, str):
            self.content_type = _TEXT
        else:
            self.content_type = _BYTES if isinstance(first, (bytes, bytearray, memoryview)) else _LINES
        self.events = self.content_type.startswith(EVENTS)
        self._lines = self.content_type.startswith(_LINES)

    def encode(self, piece: Any) -> bytes:
        """One piece, as sent.

        Raises:
            NotSerializableError: it is neither text nor bytes, and JSON cannot hold it.
        """
        if isinstance(piece, (bytes, bytearray, memoryview)):
            return bytes(piece)
        if self.events:
            return _event(piece if isinstance(piece, str) else to_json(piece).decode())
        if isinstance(piece, str) and not self._lines:
            return piece.encode("utf-8", "surrogateescape")
        return to_json(piece) + (b"\n" if self._lines else b"")

    def failure(self, message: str) -> bytes:
        """The last piece of a stream that failed; empty where the format has no way to say it."""
        text = json.dumps({"message": message})
        if self.events:
            return b"event: error\n" + _event(text)
        return text.encode() + b"\n" if self._lines else b""


def _event(text: str) -> bytes:
    # A bare carriage return ends a line too.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("".join(f"data: {line}\n" for line in lines) + "\n").encode("utf-8", "surrogateescape")
