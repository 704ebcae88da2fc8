"""The metrics page over a real socket, and what hostile clients get."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import pytest

from controlplane.metrics.metrics import Metrics, MetricsPortInUseError
from controlplane.metrics.server import MetricsServer
from tests.support.platform import open_platform
from tests.support.signals import SignalWorld

pytestmark = pytest.mark.integration


class Pages:
    def __init__(self) -> None:
        self.broken = False
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> Iterable[str]:
        if self.broken:
            raise RuntimeError("a defect")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return (f"line {number}\n" for number in range(1000))


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
async def port(pages: Pages) -> AsyncIterator[int]:
    server = MetricsServer(pages)
    yield await server.start("127.0.0.1", 0)
    await server.close()


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_page_comes_whole_and_one_at_a_time(port: int, pages: Pages) -> None:
    async with httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/metrics?x=1") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-type"] for answer in answers} == {"text/plain; version=0.0.4; charset=utf-8"}
    assert all(answer.text.splitlines()[-1] == "line 999" for answer in answers)
    assert pages.most_at_once == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"404"),
        (b"GET /metrics HTTP/1.1\r\nx: " + b"x" * 20_000 + b"\r\n\r\n", b""),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"404"),
    ],
)
async def test_anything_else_is_refused(port: int, request_: bytes, status: bytes) -> None:
    try:
        answer = await raw(port, request_)
    except ConnectionResetError:
        answer = b""
    assert answer[9:12] == status


async def test_a_page_that_cannot_be_made_is_no_empty_page(port: int, pages: Pages) -> None:
    pages.broken = True
    assert await raw(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    pages.broken = False
    assert (await raw(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_taken_port_is_an_error_only_where_it_was_asked_for(tmp_path: Path) -> None:
    platform = await open_platform(tmp_path)

    class Nobody:
        async def observe(self) -> dict[str, object]:
            return {}

    reader = SignalWorld(platform.store, Nobody(), platform.clock).reader  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        insisting = Metrics(reader)
        with pytest.raises(MetricsPortInUseError, match=f"127.0.0.1:{taken} cannot be used"):
            await insisting.start(taken, insist=True)
        await insisting.close()
        modest = Metrics(reader)
        await modest.start(taken, insist=False)
        assert modest.uri == ""
        await modest.close()
    none = Metrics(reader)
    await none.start(0, insist=True)
    assert none.uri == ""
    await none.close()
    served = Metrics(reader)
    await served.start(taken, insist=True)
    assert served.uri == f"http://127.0.0.1:{taken}/metrics"
    async with httpx.AsyncClient() as client:
        assert "penstock_build_info" in (await client.get(served.uri)).text
    await served.close()
    await platform.store.close()
