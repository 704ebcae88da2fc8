"""Steady load on the gateway over a number of connections, counting every answer. Raw asyncio: the client must not be
what is measured."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Load:
    """``connections`` clients, each sending the next request when the last is answered."""

    port: int
    path: str
    headers: dict[str, str]
    connections: int = 8
    statuses: Counter[int] = field(default_factory=Counter)
    deployments: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Connections that ended without an answer."""
    seen: list[tuple[float, str]] | None = None
    """When set, (time, deployment) of each answer."""
    limit: float = math.inf
    """Requests after which to stop."""
    tls: ssl.SSLContext | None = None
    opened: int = 0
    """Connections made."""
    _sent: int = 0
    _running: bool = True

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    @property
    def failures(self) -> int:
        return self.total - self.statuses[200] + len(self.broken)

    async def run(self) -> None:
        """Send until :meth:`stop` or ``limit``."""
        await asyncio.gather(*(self._client() for _ in range(self.connections)))

    def stop(self) -> None:
        """Finish what is under way, send no more."""
        self._running = False

    def request(self) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", "host: test", *(f"{k}: {v}" for k, v in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def next(self) -> bool:
        """Whether one more is to be sent."""
        if not self._running or self._sent >= self.limit:
            return False
        self._sent += 1
        return True

    async def _client(self) -> None:
        loop = asyncio.get_running_loop()
        while self.next():
            done: asyncio.Future[bool] = loop.create_future()
            self.opened += 1
            transport, _ = await loop.create_connection(
                lambda done=done: _Client(self, done), "127.0.0.1", self.port, ssl=self.tls
            )
            finished = await done
            transport.close()
            if finished:
                return


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, done: asyncio.Future[bool]) -> None:
        self._load = load
        self._done = done
        self._buffer = b""
        self._request = load.request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.split(b"\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}
        if len(body) < int(headers.get(b"content-length", b"0")):
            return
        self._buffer = b""
        load = self._load
        deployment = headers.get(b"azureml-model-deployment", b"").decode()
        load.statuses[int(lines[0].split(b" ")[1])] += 1
        load.deployments[deployment] += 1
        if load.seen is not None:
            load.seen.append((time.perf_counter(), deployment))
        # A server that says it closes is not one that failed: the next request takes a new connection.
        if headers.get(b"connection") == b"close":
            self._done.set_result(False)
        elif load.next():
            self._transport.write(self._request)
        else:
            self._done.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._load.broken.append(str(exc))
            self._done.set_result(False)
