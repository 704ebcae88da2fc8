"""Serves the metrics page over HTTP. One page, GET alone, nothing to configure: no web framework is worth it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from controlplane.metrics.page import CONTENT_TYPE

log = structlog.get_logger(__name__)

PATH = "/metrics"
_HEAD_BYTES = 8192
_HEAD_SECONDS = 5.0
_PAGE_SECONDS = 30.0
_PIECE = 64


class MetricsServer:
    """Answers ``GET /metrics``. Pages are made one at a time, so that many scrapers cost no more than one."""

    def __init__(self, page: Callable[[], Awaitable[Iterable[str]]]) -> None:
        """``page`` makes the page, in pieces."""
        self._page = page
        self._one = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Raises:
            OSError: the port cannot be had.
        """
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            async with asyncio.timeout(_PAGE_SECONDS):
                await self._answer(head.split(b"\r\n", 1)[0].split(b" "), writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a client that goes, sends nothing or never ends is none of our business
        except Exception:
            log.exception("the metrics page failed")
        finally:
            writer.close()

    async def _answer(self, request: list[bytes], writer: asyncio.StreamWriter) -> None:
        method, path = (request[0], request[1].split(b"?")[0]) if len(request) == 3 else (b"", b"")  # noqa: PLR2004
        if path != PATH.encode():
            writer.write(_head("404 Not Found") + f"The metrics are at {PATH}.\n".encode())
        elif method != b"GET":
            writer.write(_head("405 Method Not Allowed", "Allow: GET\r\n") + b"Only GET is answered.\n")
        else:
            async with self._one:
                await self._write_page(writer)
        await writer.drain()

    async def _write_page(self, writer: asyncio.StreamWriter) -> None:
        # Made before the head is sent: a failure must not look like an empty page.
        pieces = await self._page()
        writer.write(_head("200 OK", content_type=CONTENT_TYPE))
        for number, piece in enumerate(pieces, 1):
            writer.write(piece.encode())
            if number % _PIECE == 0:
                await writer.drain()
                await asyncio.sleep(0)


def _head(status: str, more: str = "", content_type: str = "text/plain; charset=utf-8") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n{more}\r\n".encode()
