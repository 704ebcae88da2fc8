"""Envoy's admin interface over its Unix socket: is it ready, let it drain, how much does it use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any


class AdminUnreachableError(Exception):
    """Envoy's admin socket does not answer: it is starting, stopping or gone."""

    reason = "GatewayUnreachable"
    hint = "Look at the gateway's log."


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Which Envoy answers: during a hot restart the newer one takes the admin socket over."""

    epoch: int
    version: str
    """Such as ``1.40.0``."""
    live: bool
    """Whether it has its configuration and accepts requests."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What Envoy's allocator says, in bytes."""

    allocated: int
    heap: int


class Admin:
    """A client of one Envoy's admin socket. A connection per call: calls are rare, and Envoy may restart between."""

    def __init__(self, socket: Path, *, timeout_s: float = 5.0) -> None:
        """``timeout_s`` is how long it may say nothing."""
        self._socket = socket
        self._timeout_s = timeout_s

    async def ready(self) -> bool:
        """Whether Envoy has its configuration and accepts requests. False too when nothing answers."""
        try:
            status, _ = await self._call("GET", "/ready")
        except AdminUnreachableError:
            return False
        return status == HTTPStatus.OK

    async def info(self) -> ServerInfo:
        """Who answers."""
        tree = await self._get_json("/server_info")
        options = tree["command_line_options"]
        return ServerInfo(
            epoch=int(options.get("restart_epoch", 0)),
            version=str(tree["version"]).split("/")[1],
            live=tree["state"] == "LIVE",
        )

    async def drain(self) -> None:
        """Stop taking new connections, tell the open ones to close, and let in-flight requests finish.

        Returns at once; draining takes ``drain_seconds`` of the settings.
        """
        await self._post("/healthcheck/fail")
        await self._post("/drain_listeners?graceful&skip_exit")

    async def active_requests(self) -> int:
        """Requests being answered now."""
        return await self.stat("http.gateway.downstream_rq_active")

    async def reopen_logs(self) -> None:
        """Write to a new access log, after the old one was renamed."""
        await self._post("/reopen_logs")

    async def memory(self) -> Memory:
        """How much memory Envoy uses."""
        tree = await self._get_json("/memory")
        return Memory(allocated=int(tree["allocated"]), heap=int(tree["heap_size"]))

    async def stat(self, name: str) -> int:
        """A counter or gauge by its full name; 0 when Envoy has not made it yet."""
        return (await self.stats(name))[0]

    async def stats(self, *names: str) -> tuple[int, ...]:
        """Several at once; as :meth:`stat`."""
        pattern = "|".join(name.replace(".", "%5C.") for name in names)
        tree = await self._get_json(f"/stats?format=json&filter=^({pattern})$")
        found = {entry.get("name"): int(entry.get("value", 0)) for entry in tree["stats"]}
        return tuple(found.get(name, 0) for name in names)

    async def config_dump(self) -> str:
        """All of Envoy's configuration, JSON. Digests of keys are in it: for tests and debugging only."""
        return await self._get("/config_dump")

    async def _get_json(self, path: str) -> Any:
        text = await self._get(path)
        try:
            return json.loads(text)
        except ValueError as error:
            raise AdminUnreachableError(f"The gateway's answer to {path} ends too early.") from error

    async def _get(self, path: str) -> str:
        return self._body(path, await self._call("GET", path))

    async def _post(self, path: str) -> str:
        return self._body(path, await self._call("POST", path))

    @staticmethod
    def _body(path: str, answer: tuple[int, str]) -> str:
        status, body = answer
        if status != HTTPStatus.OK:
            raise AdminUnreachableError(f"The gateway's admin interface answered {status} to {path}.")
        return body

    async def _call(self, method: str, path: str) -> tuple[int, str]:
        try:
            # Killed while it answers, Envoy may leave half an answer, or none, on an open connection.
            return await asyncio.to_thread(self._exchange, method, path)
        except (OSError, HTTPException, ValueError) as error:
            raise AdminUnreachableError(f"The gateway does not answer on {self._socket}.") from error

    def _exchange(self, method: str, path: str) -> tuple[int, str]:
        with contextlib.closing(_UnixConnection(self._socket, self._timeout_s)) as connection:
            connection.request(method, path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("admin", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
