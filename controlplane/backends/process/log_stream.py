"""Logs as streams of lines: the last ones, then those that follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from controlplane.domain.ports import LogLines
from penstock.daemon import LogFile

_POLL_SECONDS = 0.25


async def stream(logs: Mapping[str, LogFile], lines: int, *, follow: bool) -> AsyncIterator[LogLines]:
    """The last ``lines`` lines of each log, by the name it is to go by, then what is written from now on.

    An unfinished line is held back while more of it may come. A log that was removed ends quietly.
    """
    offsets: dict[str, int] = {}
    for name, log in logs.items():
        last, offsets[name] = await asyncio.to_thread(log.tail, lines)
        if not follow and lines:
            rest, _ = await asyncio.to_thread(log.read, offsets[name])
            last = [*last, rest][-lines:] if rest else last
        if last:
            yield _lines(name, last)
    while follow:
        for name, log in logs.items():
            # A look at the size costs nothing; reading is done off the loop.
            if log.end != offsets[name]:
                data, after = await asyncio.to_thread(log.read, offsets[name])
                whole, newline, rest = data.rpartition(b"\n")
                if newline:
                    offsets[name] = after - len(rest)
                    yield _lines(name, whole.split(b"\n"))
                elif not data:
                    offsets[name] = after
        await asyncio.sleep(_POLL_SECONDS)


def _lines(name: str, lines: list[bytes]) -> LogLines:
    return LogLines(name, tuple(line.decode(errors="replace").removesuffix("\r") for line in lines))
