"""Makes Envoy's words safe to store: the text of a NACK can hold the resource it refuses, secrets included."""

from __future__ import annotations

import re

MAX_LENGTH = 400
"""Characters kept. The cause stands at the front of Envoy's sentence, the resource after it."""

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(-----END [A-Z0-9 ]+-----|$)", re.DOTALL)
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_\-.~]{28,}")


def scrub(text: str) -> str:
    """``text`` in one line of at most 400 characters, without certificates, keys, digests and tokens."""
    text = _PEM.sub("[removed]", text)
    text = _LONG_WORD.sub(lambda match: "[removed]" if _secret_like(match.group()) else match.group(), text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def _secret_like(word: str) -> bool:
    """Envoy's long dotted type names hold a digit or two (``v3``); what looks random holds many more."""
    return sum(char.isdigit() for char in word) >= 4  # noqa: PLR2004
