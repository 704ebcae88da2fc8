"""Scoring requests by the thousand, over connections that are kept, and a count of what became of each.

HTTP/1.1 is spoken by hand on asyncio streams: a client library would take more of the machine than what it measures.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ANSWER_SECONDS = 30.0


@dataclass
class Tally:
    """What became of the requests."""

    sent: int = 0
    by_deployment: Counter[str] = field(default_factory=Counter)
    """By the header `azureml-model-deployment` of the answers that were 200."""
    failures: list[str] = field(default_factory=list)
    """One sentence for each request that got anything but a 200."""
    unnamed: int = 0
    """Answers without that header."""
    seconds: list[float] = field(default_factory=list)
    """How long each answer took."""
    heard: Callable[[str], None] = lambda _deployment: None
    """Called with the deployment that each answer names."""

    def percentile(self, percent: float) -> float:
        """Of the time to an answer, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def __str__(self) -> str:
        said = f"{self.sent} requests, {len(self.failures)} failed, {dict(sorted(self.by_deployment.items()))}"
        return f"{said}, p50 {self.percentile(50):.2f} ms, p99 {self.percentile(99):.2f} ms" if self.seconds else said


@dataclass(frozen=True)
class Aim:
    """What is asked, and where: a host and port, or a Unix socket."""

    key: str
    path: str
    port: int = 0
    socket: str = ""
    body: bytes = b"{}"

    def request(self) -> bytes:
        """The bytes of one request."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        if self.socket:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection("127.0.0.1", self.port)


def aim(port: int, endpoint: str, key: str) -> Aim:
    """At an endpoint through the gateway."""
    return Aim(key, f"/endpoints/{endpoint}/score", port)


def send(target: Aim, count: int, *, connections: int = 4) -> Tally:
    """``count`` requests as fast as they are answered."""
    tally = Tally()
    asyncio.run(run(target, tally, connections, lambda: tally.sent < count, 0.0))
    return tally


class Load:
    """Requests from a thread of its own, at most ``rate`` a second, from entering the block until its end."""

    def __init__(self, target: Aim, *, connections: int = 4, rate: float = 400.0) -> None:
        self.tally = Tally()
        self._stop = threading.Event()
        pause = connections / rate
        self._thread = threading.Thread(
            target=lambda: asyncio.run(run(target, self.tally, connections, self._go_on, pause)), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(2 * ANSWER_SECONDS)
        assert not self._thread.is_alive(), "the load does not end"

    def more(self, count: int) -> None:
        """Wait until so many requests more were sent."""
        goal = self.tally.sent + count
        while self.tally.sent < goal:
            assert self._thread.is_alive(), "the load ended by itself"
            time.sleep(0.02)

    def _go_on(self) -> bool:
        return not self._stop.is_set()


async def run(target: Aim, tally: Tally, connections: int, go_on: Callable[[], bool], pause: float) -> None:
    """Send until ``go_on`` says no; each connection waits ``pause`` seconds from request to request, or longer."""
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_converse(target, tally, go_on, pause))


async def _converse(target: Aim, tally: Tally, go_on: Callable[[], bool], pause: float) -> None:
    """One connection, kept as long as the other side keeps it."""
    request, writer = target.request(), None
    due = time.perf_counter()
    while go_on():
        tally.sent += 1
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if writer is None:
                    reader, writer = await target.connect()
                writer.write(request)
                keep = await _answer(reader, tally)
            tally.seconds.append(time.perf_counter() - begun)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            tally.failures.append(f"{type(error).__name__}: {error}")
            keep = False
        if not keep and writer is not None:
            writer.close()
            writer = None
        due = max(due + pause, time.perf_counter() - 1.0)
        if pause and due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
    if writer is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader, tally: Tally) -> bool:
    """Read one answer and count it; whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = head[0].split(" ", 2)[1]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers["content-length"]))
    named = headers.get("azureml-model-deployment")
    if status == "200":
        tally.by_deployment[named or ""] += 1
    else:
        tally.failures.append(f"{status} {headers.get('x-envoy-response-flags', '')} {body[:200]!r}")
    tally.unnamed += named is None
    tally.heard(named or "")
    return headers.get("connection") != "close"
