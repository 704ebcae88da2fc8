"""The head of an answer, as HTTP/1.1 writes it."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_scorer.dataplane.job import Headers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = frozenset({204, 304})
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Date:
    """The header ``date``, written anew once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        """``date: ...`` with its line break."""
        now = int(time.time())
        if now != self._second:
            at = time.gmtime(now)
            day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
            clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
            self._line = f"date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n"
            self._second = now
        return self._line


_date = Date()


def head(status: int, headers: Headers, framing: str) -> bytes:
    """Status line and headers, up to the empty line; ``framing`` says where the body ends.

    Header values are text of Latin-1, or UTF-8 where they hold more. A line break in one, which would begin a header of
    a caller's choice, becomes a space.
    """
    line = _LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        text = "".join([f"{_clean(name)}: {_clean(value)}\r\n" for name, value in headers])
    whole = f"{line}{text}{framing}{_date.line()}\r\n"
    try:
        return whole.encode("latin-1")
    except UnicodeEncodeError:
        # Each by itself: what a client sent in Latin-1, or in UTF-8, it gets back as it was.
        return b"\r\n".join(map(_encoded, whole.split("\r\n")))


def framing(status: int, size: int) -> str:
    """The length of a body of ``size`` bytes, where an answer of this status has one."""
    return "" if status in _BODILESS else f"content-length: {size}\r\n"


def bodiless(status: int) -> bool:
    """Whether an answer of this status never has a body."""
    return status in _BODILESS


def _encoded(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode(errors="replace")


def _clean(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")
