"""Bytes to the gateway as they are, and what comes back: no client library would send what these tests send."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass

from tests.integration.gateway.rig import Rig


@dataclass(frozen=True)
class Answer:
    """One HTTP/1.1 answer; ``status`` 0: the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return dict(json.loads(self.body))

    @property
    def code(self) -> str:
        """The error's code; empty for a body that is no error of the gateway's."""
        try:
            error = self.json["error"]
        except (ValueError, KeyError):
            return ""
        assert isinstance(error, dict)
        return str(error["code"])


async def send(rig: Rig, request: str | bytes, timeout_s: float = 10) -> Answer:
    """The first answer to exactly these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
    try:
        writer.write(request if isinstance(request, bytes) else request.encode("latin-1"))
        async with asyncio.timeout(timeout_s):
            return await read(reader)
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader) -> Answer:
    """The next answer on a connection. (Envoy keeps it open for a second to see all bytes read.)"""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(0, {}, b"")
    first, *lines = head.strip().split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body)
