"""Probes: asking an instance at its address, and counting what it says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from controlplane.domain.specs import ProbeSettings

_REQUEST = b"GET / HTTP/1.1\r\nHost: instance\r\nUser-Agent: penstock-probe\r\nConnection: close\r\n\r\n"
LONGEST_STATUS_LINE = 1024
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


@dataclass(slots=True)
class ProbeCount:
    """The verdict over a row of probes; pure.

    A success counts at once. A failure counts once ``initial_delay_seconds`` have passed since the start. So many in a
    row as the threshold says turn the verdict.
    """

    settings: ProbeSettings
    healthy: bool = False
    failed: bool = False
    """The failure threshold was reached, and no success since."""
    _successes: int = field(default=0)
    _failures: int = field(default=0)

    def add(self, *, ok: bool, age_seconds: float) -> None:
        """Count one probe, made when the instance had run for ``age_seconds``."""
        if ok:
            self._failures = 0
            self._successes += 1
            if self._successes >= self.settings.success_threshold:
                self.healthy, self.failed = True, False
        elif age_seconds >= self.settings.initial_delay_seconds:
            self._successes = 0
            self._failures += 1
            if self._failures >= self.settings.failure_threshold:
                self.healthy, self.failed = False, True


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
"""The way to an instance."""


def unix(socket: str) -> Dial:
    """The way to an instance at a Unix socket."""
    return lambda: asyncio.open_unix_connection(socket, limit=LONGEST_STATUS_LINE)


async def answers(dial: Dial, timeout_seconds: float) -> bool:
    """Whether ``GET /`` is answered with success in time.

    Raises:
        OSError: we have no descriptor or memory left, which is not the instance's fault.
    """
    writer = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await dial()
            writer.write(_REQUEST)
            status = await reader.readline()
    except (ValueError, TimeoutError):
        return False
    except OSError as error:
        if error.errno in _OURS:
            raise
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    words = status.split()
    return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1][:1] in (b"2", b"3")
