"""The ways in beside request and response: streams both ways, WebSocket, HTTP/2, and the older address."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import replace

import pytest

from tests.integration.gateway import h2, raw
from tests.integration.gateway.rig import BEARER, KEY, Rig, until

pytestmark = pytest.mark.integration

AUTHORIZED = f"authorization: Bearer {KEY}\r\n"
UPGRADE = "connection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"


async def test_events_arrive_as_they_are_sent_and_flow_beyond_the_timeout(rig: Rig) -> None:
    """10 events, 60 ms apart, with a timeout of 300 ms: what counts is silence."""
    brief = replace(rig.deployment("blue", "b1"), request_timeout_ms=300)
    await rig.router.apply(rig.endpoint(brief, blue=100))
    async with rig.client.stream("GET", "/endpoints/e/stream/10/60", headers=BEARER) as response:
        assert response.headers["content-type"] == "text/event-stream"
        moments = [time.perf_counter() async for line in response.aiter_lines() if line]
    assert len(moments) == 10
    # Gathered, they would come at once; half the time leaves room for a slow machine.
    assert moments[-1] - moments[0] > 0.3


async def test_an_answer_that_stops_is_broken_off(rig: Rig) -> None:
    brief = replace(rig.deployment("blue", "b1"), request_timeout_ms=200)
    await rig.router.apply(rig.endpoint(brief, blue=100))
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
    writer.write(f"GET /endpoints/e/stream/2/1000 HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}\r\n".encode())
    async with asyncio.timeout(10):
        everything = await reader.read(-1)
    writer.close()
    assert b"data: 0" in everything
    assert b"data: 1" not in everything
    assert not everything.endswith(b"0\r\n\r\n")  # the client can tell


async def test_a_client_that_leaves_is_told_to_the_instance(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    async with rig.client.stream("GET", "/endpoints/e/stream/200/10", headers=BEARER) as response:
        assert response.status_code == 200

    async def gone() -> bool:
        return "gone" in (await rig.get("/endpoints/e/paths")).json()["paths"]

    await until(gone)


async def early(rig: Rig, name: str) -> raw.Answer:
    """Announce 1,000 bytes, send three, and see whether the instance hears of it."""
    head = f"POST /endpoints/{name}/early HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}content-length: 1000\r\n\r\nabc"
    return await raw.send(rig, head)


async def test_bodies_are_gathered_or_streamed(rig: Rig) -> None:
    blue = replace(rig.deployment("blue", "b1"), request_timeout_ms=300)
    await rig.router.apply(rig.endpoint(blue, name="gathers", blue=100))
    streams = replace(rig.endpoint(blue, name="streams", blue=100), stream_requests=True, max_request_bytes=1000)
    await rig.router.apply(streams)
    assert (await early(rig, "gathers")).status == 408
    assert (await early(rig, "streams")).json["bytes"] in {0, 3}
    response = await rig.client.post("/endpoints/streams/score", headers=BEARER, content=b"x" * 1000)
    assert (response.status_code, response.json()["bytes"]) == (200, 1000)
    response = await rig.client.post("/endpoints/streams/score", headers=BEARER, content=b"x" * 1001)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "RequestTooLarge")


async def test_websocket(rig: Rig) -> None:
    blue = replace(rig.deployment("blue", "b1"), request_timeout_ms=200)
    green = replace(rig.deployment("green", "g1"), request_timeout_ms=200)
    await rig.router.apply(replace(rig.endpoint(blue, green, blue=100), websocket=True))
    for name, more in (("blue", ""), ("green", "azureml-model-deployment: green\r\n")):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
        writer.write(f"GET /endpoints/e/ws HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}{more}{UPGRADE}\r\n".encode())
        answer = await raw.read(reader)
        assert (answer.status, answer.headers["azureml-model-deployment"]) == (101, name)
        for number in range(3):
            writer.write(b"frame %d" % number)
            assert await reader.readexactly(7) == b"frame %d" % number
            await asyncio.sleep(0.15)
        await asyncio.sleep(0.3)  # longer silent than a request may be
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()


async def test_websocket_over_http2(rig: Rig) -> None:
    """RFC 8441: an extended CONNECT. Without a key it gets as far as any request."""
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", "b1"), blue=100), websocket=True))
    connect = [*h2.request("/endpoints/e/ws", method="CONNECT"), (":protocol", "websocket")]
    version = ("sec-websocket-version", "13")
    connection = await h2.Connection.open(rig.settings.listen_port)
    for number, headers in enumerate([[("authorization", f"Bearer {KEY}"), version], [version]]):
        block = h2.block([*connect, *headers])
        connection.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS, 2 * number + 1, block))
    how, body = await connection.until_ended(3)
    assert (how, json.loads(body)["error"]["code"]) == ("data", "Unauthorized")
    connection.writer.write(h2.frame(h2.DATA, 0, 1, b"over h2"))
    async with asyncio.timeout(10):
        while (h2.DATA, 1, b"over h2") not in [(kind, of, payload) for kind, _, of, payload in connection.frames]:
            assert await connection._read()
    connection.close()


async def test_websockets_meet_the_same_door(rig: Rig) -> None:
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(replace(route, websocket=True, stream_idle_timeout_ms=200))
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", "b1"), name="idle"), websocket=True))
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), name="closed", blue=100))
    table = [
        ("no key", f"GET /endpoints/e/ws HTTP/1.1\r\nhost: x\r\n{UPGRADE}\r\n", (401, "Unauthorized")),
        (
            "no endpoint",
            f"GET /endpoints/x/ws HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}{UPGRADE}\r\n",
            (404, "EndpointNotFound"),
        ),
        (
            "no traffic",
            f"GET /endpoints/idle/ws HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}{UPGRADE}\r\n",
            (403, "UpgradeRefused"),
        ),
        (
            "no deployment",
            f"GET /endpoints/e/ws HTTP/1.1\r\nhost: x\r\nazureml-model-deployment: x\r\n{AUTHORIZED}{UPGRADE}\r\n",
            (403, "UpgradeRefused"),
        ),
    ]
    for what, request, outcome in table:
        answer = await raw.send(rig, request)
        assert (answer.status, answer.code) == outcome, what
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
    writer.write(f"GET /endpoints/e/ws HTTP/1.1\r\nhost: x\r\n{AUTHORIZED}{UPGRADE}\r\n".encode())
    assert (await raw.read(reader)).status == 101
    async with asyncio.timeout(5):
        assert await reader.read(-1) == b""  # silent for longer than it may be
    writer.close()


async def test_many_requests_on_one_http2_connection(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    connection = await h2.Connection.open(rig.settings.listen_port)
    block = h2.block([*h2.request("/endpoints/e/slow/100"), ("authorization", f"Bearer {KEY}")])
    started = time.perf_counter()
    for number in range(20):
        connection.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * number + 1, block))
    ended = 0
    while ended < 20:
        assert await connection._read()
        kind, flags, _, _ = connection.frames[-1]
        ended += kind == h2.DATA and bool(flags & h2.END_STREAM)
    connection.close()
    assert time.perf_counter() - started < 20 * 0.1  # side by side


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge", "--http2"])
async def test_as_curl_speaks_it(rig: Rig, protocol: str) -> None:
    """``--http2`` offers an upgrade to h2c, which is passed over: the answer is HTTP/1.1."""
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    address = f"http://127.0.0.1:{rig.settings.listen_port}/endpoints/e/score"
    curl = await asyncio.create_subprocess_exec(
        "curl", "-s", protocol, "-d", "[1]", "-H", f"authorization: Bearer {KEY}", "-w", " %{http_version}", address,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await curl.communicate()
    assert b'"bytes": 3' in out
    assert out.endswith(b" 2" if "prior" in protocol else b" 1.1")


async def test_the_older_address(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), name="v1", blue=100))
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    table = [
        ("/api/v1/service/e/score", "/score"),
        ("/api/v1/service/e/score?x=1", "/score?x=1"),
        ("/api/v1/service/e/swagger.json", "/swagger.json"),
        ("/api/v1/service/e", "/"),
        # Where the name stands in the newer address there is "v1" in the older one, which may be an endpoint too.
        ("/api/v1/service/v1/score", "/score"),
        ("/endpoints/v1/score", "/score"),
        ("/endpoints/e", "/"),
        ("/endpoints/e?x=/y", "/?x=/y"),
    ]
    for address, path in table:
        response = await rig.get(address)
        assert (response.status_code, response.json()["path"]) == (200, path), address
        assert response.headers["azureml-model-deployment"] == "blue"
    response = await rig.client.post("/api/v1/service/e/score", headers=BEARER, content=b"x" * 100_000)
    assert response.json()["bytes"] == 100_000
    assert (await rig.get("/api/v1/service/unknown/score")).json()["error"]["code"] == "EndpointNotFound"
