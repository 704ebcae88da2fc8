"""Heads of requests that came before are recognised instead of parsed.

A client sends the same head again and again, but for a few values: the length of the body, ids, a credential. Where
what remains without these is, byte for byte, what llhttp has let through before, it says the same again, and only the
values are put in. That takes two thirds of the time. Figures: docs/decisions/scorer-own-transport.md.

Nothing is guessed: a value is taken out only where it is a whole line's, of plain characters, and a head in which it
matters how often such a header comes is not remembered.
"""

from __future__ import annotations

import re

from penstock_scorer.http.head import Head

_VARYING = re.compile(
    rb"(\r\n(?i:content-length|authorization|x-request-id|x-ms-request-id|x-ms-client-request-id|traceid|traceparent"
    rb"|tracestate|x-envoy-expected-rq-timeout-ms|x-forwarded-for|x-envoy-external-address): )([ -~]+)(?=\r\n[^ \t])"
)
_END = b"\r\n\r\n"
_LONGEST = 4096
"""Bytes of a head that is remembered, about."""
_MOST = 256
"""Heads that are remembered; one more, and all are forgotten."""
_MOST_DIGITS = 18
"""Of a length that is ours to read."""
_CHANGING = frozenset({"transfer-encoding", "upgrade", "expect", "trailer"})
"""A head with one of these means more than itself."""
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})
"""Not kept: heads where one of these is a part of what is looked up, or with a query, where clients put such things."""


class _Familiar:
    """A head as it came first; ``names`` vary, and are at ``places`` of its headers."""

    __slots__ = ("head", "names", "places")

    def __init__(self, head: Head, names: list[str], places: list[int]) -> None:
        self.head = head
        self.names = names
        self.places = places


_familiar: dict[tuple[bytes, ...], _Familiar] = {}


def recognise(received: bytes) -> tuple[Head, bytes] | None:
    """Head and body, if this is one whole request and nothing else, and has a familiar head."""
    end = received.find(_END, 0, _LONGEST) + len(_END)
    pieces = _VARYING.split(received[:end])
    values = pieces[2::3]
    del pieces[2::3]
    known = _familiar.get(tuple(pieces))
    if known is None:
        return None
    head = known.head
    fields, first = head.fields.copy(), head.first.copy()
    for name, place, value in zip(known.names, known.places, values, strict=True):
        text = value.strip().decode("latin-1")
        first[name] = text
        fields[place] = (name, text)
    if len(received) - end != _length(first):
        return None
    return Head(head.method, head.path, head.query, fields, first, head.version, head.keep), received[end:]


def remember(received: bytes, head: Head) -> None:
    """What llhttp has read of ``received`` ends with a request of this head: it is familiar now, if it can be."""
    end = received.find(_END, 0, _LONGEST) + len(_END)
    if end < len(_END) or head.version != "1.1" or not head.keep or not _CHANGING.isdisjoint(head.first):
        return
    if len(received) - end != _length(head.first):
        # More than this request.
        return
    pieces = _VARYING.split(received[:end])
    names = [piece[2:-2].decode("latin-1").lower() for piece in pieces[1::3]]
    values = [value.strip().decode("latin-1") for value in pieces[2::3]]
    order = [name for name, _ in head.fields]
    if [order.count(name) for name in names] != [1] * len(names) or values != [head.first[name] for name in names]:
        return
    if head.query or not _SECRET.isdisjoint(set(order).difference(names)):
        return
    places = [order.index(name) for name in names]
    fields, first = head.fields.copy(), head.first.copy()
    for name, place in zip(names, places, strict=True):
        # What they were this time is nobody's business.
        first[name] = ""
        fields[place] = (name, "")
    if len(_familiar) >= _MOST:
        _familiar.clear()
    del pieces[2::3]
    kept = Head(head.method, head.path, head.query, fields, first, head.version, head.keep)
    _familiar[tuple(pieces)] = _Familiar(kept, names, places)


def _length(first: dict[str, str]) -> int:
    """Bytes of the body; -1: that is not for us to say."""
    text = first.get("content-length", "0")
    return int(text) if len(text) <= _MOST_DIGITS and text.isdecimal() else -1
