"""Tensors beside protobuf, not through it.

A protobuf library copies every ``bytes`` field twice on the way to Python. Contents are most of a message, so they
are cut out of it as views before it is parsed, and put behind it after it is written: on the wire the order of
fields does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_scorer.inference.tensors import Buffer

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class WireError(ValueError):
    """The bytes are no protobuf message."""


def split(message: bytes, field: int) -> tuple[bytes, list[memoryview]]:
    """Take every top-level ``bytes`` field numbered ``field`` out of a message.

    Returns:
        The message without them, and views of their contents in order.

    Raises:
        WireError: the message is malformed at its top level.
    """
    view = memoryview(message)
    end = len(message)
    rest: list[memoryview] = []
    taken: list[memoryview] = []
    at = kept = 0
    while at < end:
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(message, at)
            begin, at = at, at + size
            if tag >> 3 == field and at <= end:
                rest.append(view[kept:start])
                taken.append(view[begin:at])
                kept = at
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise WireError("it has a group, or a wire type that does not exist")
        if at > end:
            raise WireError("it ends inside a field")
    if not taken:
        return message, taken
    rest.append(view[kept:])
    return b"".join(rest), taken


def join(message: bytes, field: int, contents: Iterable[Buffer]) -> bytes:
    """Put ``bytes`` fields numbered ``field`` behind a message, in one copy."""
    parts: list[Buffer] = [message]
    for content in contents:
        parts.extend((varint(field << 3 | _BYTES), varint(len(content)), content))
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:  # noqa: PLR2004 - seven bits a byte
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        number |= (byte & 127) << 7 * index
        if byte < 128:  # noqa: PLR2004
            return number, at + index + 1
    raise WireError("it ends inside a number, or the number is too long")
