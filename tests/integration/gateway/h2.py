"""HTTP/2 frames by hand (RFC 9113, RFC 7541), for what no client library would send."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def _integer(value: int, bits: int) -> bytes:
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((value,))
    rest, out = value - limit, bytearray((limit,))
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes((*out, rest))


def block(headers: list[tuple[str, str]]) -> bytes:
    """A header block: literals without indexing, not compressed."""
    out = bytearray()
    for name, value in headers:
        out.append(0)
        for text in (name.encode("latin-1"), value.encode("latin-1")):
            out += _integer(len(text), 7) + text
    return bytes(out)


def request(path: str, *more: tuple[str, str], method: str = "GET") -> list[tuple[str, str]]:
    """The headers of a request."""
    return [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more]


@dataclass
class Connection:
    """A client's connection; frames that arrive are gathered."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)

    @classmethod
    async def open(cls, port: int) -> Connection:
        connection = cls(*await asyncio.open_connection("127.0.0.1", port))
        connection.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        return connection

    async def until_closed(self, timeout_s: float = 10) -> None:
        """Read until the other side hangs up.

        Raises:
            TimeoutError: it did not.
        """
        async with asyncio.timeout(timeout_s):
            while await self._read():
                pass

    async def until_ended(self, stream: int, timeout_s: float = 10) -> tuple[str, bytes]:
        """How a stream ended: ``("reset", code)``, ``("closed", b"")`` with the connection, or ``("data", body)``."""
        async with asyncio.timeout(timeout_s):
            while True:
                if not await self._read():
                    return "closed", b""
                kind, flags, which, payload = self.frames[-1]
                if which == stream and kind == RST_STREAM:
                    return "reset", payload
                if kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
                    return "closed", payload
                if which == stream and flags & END_STREAM:
                    parts = (p for k, _, w, p in self.frames if w == stream and k == DATA)
                    return "data", b"".join(parts)

    async def _read(self) -> bool:
        try:
            head = await self.reader.readexactly(9)
            length = int.from_bytes(head[:3], "big")
            payload = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.frames.append((head[3], head[4], int.from_bytes(head[5:9], "big"), payload))
        return True

    def close(self) -> None:
        self.writer.close()
