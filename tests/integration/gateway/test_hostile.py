"""Hostile input, listed with what each must get. Two endpoints: ``open`` takes our key, ``closed`` takes another.

What is refused must not have reached an instance; what is answered must have been asked of ``open``, as one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.routes import EndpointAuth
from tests.integration.gateway import h2, raw
from tests.integration.gateway.rig import BEARER, KEY, Rig, digest

pytestmark = pytest.mark.integration

SCORE = "/endpoints/open/score"
CLOSED_KEY = "Zt7Gh2KmP9qR4sWx8YbNc3VfJd6LaE1u"
AUTHORIZED = f"authorization: Bearer {KEY}\r\n"
HOST = "host: x\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"

OK, MALFORMED, UNKNOWN, NO_KEY = (200, ""), (400, "BadRequest"), (404, "EndpointNotFound"), (401, "Unauthorized")
LARGE = (431, "HeadersTooLarge")


@pytest.fixture
async def doors(rig: Rig) -> AsyncIterator[Rig]:
    """Each endpoint has an instance of its own, so that one can say nothing came."""
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "o1"), name="open", blue=100))
    other = EndpointAuth(key_digests=(("primary", digest(CLOSED_KEY)),))
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", "c1"), name="closed", blue=100), auth=other))
    yield rig
    closed = await rig.get("/endpoints/closed/paths", {"authorization": f"Bearer {CLOSED_KEY}"})
    assert closed.json()["paths"] == []


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\n{HOST}{AUTHORIZED}\r\n"


def head(*lines: str, method: str = "GET", version: str = "HTTP/1.1") -> str:
    return f"{method} {SCORE} {version}\r\n{''.join(lines)}{AUTHORIZED}\r\n"


def post(*lines: str, body: str = "") -> str:
    return f"{head(HOST, *lines, method='POST')}{body}"


PATHS: list[tuple[str, str, tuple[int, str], str]] = [
    # what, request, outcome, the path the instance is asked for
    ("an unknown endpoint", get("/endpoints/unknown/score"), UNKNOWN, ""),
    ("another case", get("/endpoints/OPEN/score"), UNKNOWN, ""),
    ("no endpoint", get("/endpoints/"), UNKNOWN, ""),
    ("nothing", get("/"), UNKNOWN, ""),
    ("elsewhere", get("/elsewhere/open/score"), UNKNOWN, ""),
    ("almost the prefix", get("/endpointsx/open/score"), UNKNOWN, ""),
    ("dots", get("/endpoints/open/../closed/score"), NO_KEY, ""),
    ("encoded dots", get("/endpoints/open/%2e%2e/closed/score"), NO_KEY, ""),
    ("dots further on", get("/endpoints/open/x/../../closed/score"), NO_KEY, ""),
    ("dots above the root", get("/../../endpoints/closed/score"), NO_KEY, ""),
    ("double slashes", get("//endpoints//closed//score"), NO_KEY, ""),
    # RFC 3986: an empty segment is a segment too, so this is `open`, asked for /closed/score.
    ("dots after an empty segment", get("/endpoints/open//../closed/score"), OK, "/closed/score"),
    ("dots with a parameter", get("/endpoints/open/..;/closed/score"), NO_KEY, ""),
    ("a parameter of the name", get("/endpoints/open;x=1/score"), UNKNOWN, ""),
    ("a parameter further on", get("/endpoints/open/score;x=1"), OK, "/score;x=1"),
    ("an encoded slash", get("/endpoints/open%2f..%2fclosed/score"), MALFORMED, ""),
    ("an encoded slash behind dots", get("/endpoints/open/%2e%2e%2fclosed/score"), MALFORMED, ""),
    ("an encoded backslash", get("/endpoints/open%5c..%5cclosed/score"), MALFORMED, ""),
    ("backslashes", get("\\endpoints\\closed\\score"), MALFORMED, ""),
    ("encoded twice", get("/endpoints/open/%252e%252e/closed/score"), OK, "/%252e%252e/closed/score"),
    ("overlong UTF-8", get("/endpoints/open/..%c0%af../closed"), OK, "/..%c0%af../closed"),
    ("an encoded null", get("/endpoints/open/a%00b"), MALFORMED, ""),
    ("a null", get("/endpoints/open\0/score"), MALFORMED, ""),
    ("a tab", get("/endpoints/open\t/score"), MALFORMED, ""),
    ("a fragment", get("/endpoints/open/score#/../../closed"), MALFORMED, ""),
    ("dots in a query", get("/endpoints/open/score?/../../closed/score"), OK, "/score?/../../closed/score"),
    ("dots in a query at once", get("/endpoints/open?/../closed/score"), OK, "/?/../closed/score"),
    ("a relative path", get("endpoints/open/score"), MALFORMED, ""),
    ("an absolute address", get("http://elsewhere/endpoints/closed/score"), NO_KEY, ""),
    ("an asterisk", get("*"), MALFORMED, ""),
    ("an asterisk for all", f"OPTIONS * HTTP/1.1\r\n{HOST}{AUTHORIZED}\r\n", (404, ""), ""),
    ("a tunnel", f"CONNECT open:80 HTTP/1.1\r\nhost: open:80\r\n{AUTHORIZED}\r\n", UNKNOWN, ""),
    ("the older address of another", get("/api/v1/service/closed/score"), NO_KEY, ""),
    ("dots in the older address", get("/api/v1/service/open/../closed/score"), NO_KEY, ""),
    ("the gateway's own address for gRPC", get("/grpc/open/score"), UNKNOWN, ""),
    ("the gateway's own address, with dots", get("/grpc/open/../../endpoints/closed/score"), NO_KEY, ""),
]
FRAMING: list[tuple[str, str, tuple[int, str], str]] = [
    ("two hosts", head("host: x\r\nhost: y\r\n"), MALFORMED, ""),
    ("one host twice", head("host: x\r\nhost: x\r\n"), MALFORMED, ""),
    ("no host", head(), MALFORMED, ""),
    ("a host of two words", head("host: a b\r\n"), MALFORMED, ""),
    ("a host with a path", head("host: a/b\r\n"), MALFORMED, ""),
    ("length and chunks", post("content-length: 4\r\n", CHUNKED, body="0\r\n\r\n"), MALFORMED, ""),
    ("chunks and length", post(CHUNKED, "content-length: 4\r\n", body="0\r\n\r\n"), MALFORMED, ""),
    ("two codings", post(CHUNKED, "transfer-encoding: identity\r\n", body="0\r\n\r\n"), (501, "NotImplemented"), ""),
    ("a list of codings", post("transfer-encoding: gzip, chunked\r\n"), (501, "NotImplemented"), ""),
    ("almost chunked", post("transfer-encoding: xchunked\r\n"), (501, "NotImplemented"), ""),
    ("a space before the colon", post("transfer-encoding : chunked\r\n", body="0\r\n\r\n"), MALFORMED, ""),
    ("two lengths", post("content-length: 4\r\ncontent-length: 5\r\n", body="abcde"), MALFORMED, ""),
    ("one length twice", post("content-length: 4\r\ncontent-length: 4\r\n", body="abcd"), MALFORMED, ""),
    ("a list of lengths", post("content-length: 4, 4\r\n", body="abcd"), MALFORMED, ""),
    ("a signed length", post("content-length: +4\r\n", body="abcd"), MALFORMED, ""),
    ("a negative length", post("content-length: -1\r\n"), MALFORMED, ""),
    ("a length in hex", post("content-length: 0x4\r\n", body="abcd"), MALFORMED, ""),
    ("a length beyond 64 bits", post("content-length: 99999999999999999999\r\n"), MALFORMED, ""),
    ("a chunk of no size", post(CHUNKED, body="zz\r\nabc\r\n0\r\n\r\n"), MALFORMED, ""),
    ("a chunk beyond 64 bits", post(CHUNKED, body="ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"), MALFORMED, ""),
    ("chunks ended by bare LF", post(CHUNKED, body="3\nabc\n0\n\n"), MALFORMED, ""),
    ("a header without a colon", head(HOST, "nocolon\r\n"), MALFORMED, ""),
    ("a space in a header's name", head(HOST, "x a: b\r\n"), MALFORMED, ""),
    ("a space before the first header", head(f" {HOST}"), MALFORMED, ""),
    ("a null in a header", head(HOST, "x-a: b\0c\r\n"), MALFORMED, ""),
    ("an unknown method", head(HOST, method="FOO"), MALFORMED, ""),
    ("not HTTP", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", MALFORMED, ""),
    ("HTTP of another century", f"GET {SCORE}\r\n\r\n", (426, "UpgradeRequired"), ""),
    ("HTTP/1.0", head(HOST, version="HTTP/1.0"), (426, "UpgradeRequired"), ""),
    ("a header of 70,000 bytes", head(HOST, f"x-big: {'x' * 70_000}\r\n"), LARGE, ""),
    ("150 headers", head(HOST, *(f"x-{n}: y\r\n" for n in range(150))), LARGE, ""),
    ("an address of 70,000 bytes", get(f"{SCORE}?{'x' * 70_000}"), LARGE, ""),
    ("an upgrade nobody offers", head(HOST, "connection: upgrade\r\nupgrade: foo\r\n"), (403, "UpgradeRefused"), ""),
    ("its own key declared hop-by-hop", head(HOST, "connection: authorization\r\n"), NO_KEY, ""),
    # RFC 9112, 2.2 and 5.2 let a receiver read these leniently if it writes them strictly; Envoy does both.
    ("a folded header", head(HOST, "x-a: b\r\n c\r\n"), OK, "/score"),
    ("bare LF", head(HOST, "x-a: b\r\n").replace("\r\n", "\n"), OK, "/score"),
    ("a CR in a header", head(HOST, "x-a: b\rx-penstock-client: root\r\n"), OK, "/score"),
    ("a request as a body", post("content-length: 40\r\n", body=get("/endpoints/closed/score")[:40]), OK, "/score"),
]


async def test_paths_and_framing(doors: Rig) -> None:
    wrong, asked = [], []
    for what, request, outcome, path in (*PATHS, *FRAMING):
        answer = await raw.send(doors, request)
        if (answer.status, answer.code) != outcome:
            wrong.append((what, answer.status, answer.body))
        if path:
            asked.append(path)
    assert wrong == []
    assert (await doors.get("/endpoints/open/paths")).json()["paths"] == asked


async def test_what_is_read_leniently_is_written_strictly(doors: Rig) -> None:
    folded = head(HOST, "x-a: b\r\n\tc\r\n", "x-b: d\rx-penstock-client: root\r\n", "x-c: e\nx-d: f\r\n")
    seen = (await raw.send(doors, folded)).json["headers"]
    assert isinstance(seen, dict)
    assert {name: value.split() for name, value in seen.items() if name in {"x-a", "x-c", "x-d"}} == {
        "x-a": ["b", "c"],
        "x-c": ["e"],
        "x-d": ["f"],
    }
    assert seen["x-penstock-client"] == "primary"


async def test_one_request_is_one_request(doors: Rig) -> None:
    """Behind a body that ends early nothing of it is read as the next request with another's rights."""
    inner = "GET /endpoints/closed/score HTTP/1.1\r\nhost: x\r\n\r\n"
    smuggled = post("content-length: 3\r\n", body=f"abc{inner}")
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.settings.listen_port)
    writer.write(smuggled.encode())
    answers = [await raw.read(reader), await raw.read(reader)]
    writer.close()
    assert [(answer.status, answer.code) for answer in answers] == [OK, NO_KEY]


CREDENTIALS: list[tuple[str, list[tuple[str, str]], int]] = [
    ("no credential", [], 401),
    ("an empty one", [("authorization", "")], 401),
    ("the scheme alone", [("authorization", "Bearer")], 401),
    ("no scheme", [("authorization", KEY)], 401),
    ("another scheme", [("authorization", f"Basic {KEY}")], 401),
    ("a wrong key", [("authorization", f"Bearer {KEY[:-1]}x")], 401),
    ("the key of another endpoint", [("authorization", f"Bearer {CLOSED_KEY}")], 401),
    ("its digest", [("authorization", f"Bearer {digest(KEY)}")], 401),
    ("two, right first", [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")], 401),
    ("two, right last", [("authorization", "Bearer x"), ("authorization", f"Bearer {KEY}")], 401),
    ("the same twice", [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")], 401),
    ("a list", [("authorization", f"Bearer {KEY},Bearer {KEY}")], 401),
    ("20,000 characters", [("authorization", "Bearer " + "x" * 20_000)], 401),
    ("in another header", [("x-authorization", f"Bearer {KEY}"), ("proxy-authorization", f"Bearer {KEY}")], 401),
    ("claimed to be proven", [("x-penstock-client", "primary")], 401),
    ("claimed with underscores", [("x_penstock_client", "primary")], 401),
    ("claimed in capitals", [("X-PENSTOCK-CLIENT", "primary")], 401),
    ("named for gRPC", [("x-penstock-endpoint", "open")], 401),
]


async def test_credentials(doors: Rig) -> None:
    for path in (SCORE, "/api/v1/service/open/score", "/endpoints/open"):
        for what, headers, status in CREDENTIALS:
            response = await doors.client.get(path, headers=headers)
            assert response.status_code == status, (path, what)
            assert response.headers["www-authenticate"].startswith('Bearer realm="penstock"'), what
            assert "azureml-model-deployment" not in response.headers, what
    assert (await doors.get("/endpoints/open/paths")).json()["paths"] == []


async def test_a_key_in_the_address_is_none(doors: Rig) -> None:
    for query in (f"key={KEY}", f"access_token={KEY}", f"authorization=Bearer%20{KEY}"):
        assert (await doors.client.get(f"{SCORE}?{query}")).status_code == 401


async def test_what_a_client_says_of_itself_is_not_passed_on(doors: Rig) -> None:
    claims = {
        "x-penstock-client": "root",
        "x-penstock-": "x",
        "x-penstock-e": "x",
        "x-penstock-en": "x",
        "x-penstock-env": "x",
        "x-penstock-admin": "x",
        "x-penstock-endpoint": "closed",
        "x-envoy-max-retries": "9",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-upstream-service-time": "1",
        "x-envoy-internal": "true",
        "x-envoy-decorator-operation": "x",
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-proto": "https",
    }
    response = await doors.get(SCORE, BEARER | claims)
    assert response.status_code == 200
    seen = response.json()["headers"]
    assert {name: value for name, value in seen.items() if name.startswith("x-penstock")} == {
        "x-penstock-client": "primary"
    }
    envoys = {name for name in seen if name.startswith("x-envoy")}
    assert envoys <= {"x-envoy-original-path", "x-envoy-external-address", "x-envoy-expected-rq-timeout-ms"}
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-for"] != "10.0.0.1"
    # And the instance, which says it is another deployment, is not believed either.
    assert response.headers.get_list("azureml-model-deployment") == ["blue"]
    assert not [name for name in response.headers if name.startswith(("x-envoy", "x-penstock"))]


async def test_a_trailer_is_no_header(doors: Rig) -> None:
    body = "3\r\nabc\r\n0\r\nx-penstock-client: root\r\nauthorization: Bearer x\r\n\r\n"
    answer = await raw.send(doors, post(CHUNKED, "trailer: x-penstock-client\r\n", body=body))
    assert answer.status == 200
    seen = answer.json["headers"]
    assert isinstance(seen, dict)
    assert seen["x-penstock-client"] == "primary"


HTTP2: list[tuple[str, list[tuple[str, str]], bool]] = [
    # what, headers beside the key, whether it is answered at all
    ("a request", h2.request(SCORE), True),
    ("no path", h2.request(SCORE)[:3], False),
    ("two paths", [*h2.request(SCORE), (":path", "/endpoints/closed/score")], False),
    ("a pseudo-header behind headers", [*h2.request(SCORE), ("x", "y"), (":method", "GET")], False),
    ("capitals in a name", h2.request(SCORE, ("X-Upper", "y")), False),
    ("a line break in a value", h2.request(SCORE, ("x", "y\r\nx-penstock-client: root")), False),
    ("a null in a value", h2.request(SCORE, ("x", "y\0z")), False),
    ("a colon in a name", h2.request(SCORE, ("x: y", "z")), False),
    ("a connection header", h2.request(SCORE, ("connection", "close")), False),
    ("a transfer coding", h2.request(SCORE, ("transfer-encoding", "chunked")), False),
    ("a space in the path", h2.request("/endpoints/open/score HTTP/1.1\r\nx: y"), False),
    ("a length without a body", h2.request(SCORE, ("content-length", "5")), False),
    ("a host beside the authority", h2.request(SCORE, ("host", "y")), True),
    ("an address of 70,000 bytes", h2.request(f"{SCORE}?{'x' * 70_000}"), False),
]


@pytest.mark.parametrize(("what", "headers", "answered"), HTTP2, ids=[row[0] for row in HTTP2])
async def test_http2(doors: Rig, what: str, headers: list[tuple[str, str]], answered: bool) -> None:
    connection = await h2.Connection.open(doors.settings.listen_port)
    block = h2.block([*headers, ("authorization", f"Bearer {KEY}")])
    for start in range(0, len(block), 16_384):
        last = start + 16_384 >= len(block)
        kind = h2.HEADERS if start == 0 else h2.CONTINUATION
        flags = (h2.END_HEADERS if last else 0) | (h2.END_STREAM if start == 0 else 0)
        connection.writer.write(h2.frame(kind, flags, 1, block[start : start + 16_384]))
    how, body = await connection.until_ended(1)
    connection.close()
    assert (how == "data" and b'"instance": "o1"' in body) == answered, (how, body)
    assert (await doors.get(SCORE)).status_code == 200
    paths = (await doors.get("/endpoints/open/paths")).json()["paths"]
    assert len(paths) == 1 + answered


async def test_rapid_reset(doors: Rig) -> None:
    """CVE-2023-44487: streams opened and cancelled as fast as a connection takes them. It is hung up on."""
    connection = await h2.Connection.open(doors.settings.listen_port)
    block = h2.block([*h2.request("/endpoints/open/slow/1000"), ("authorization", f"Bearer {KEY}")])
    sent = 0
    closed = asyncio.create_task(connection.until_closed(30))
    while not closed.done() and sent < 20_000:
        for _ in range(100):
            stream = 2 * sent + 1
            connection.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, block))
            connection.writer.write(h2.frame(h2.RST_STREAM, 0, stream, h2.CANCEL.to_bytes(4, "big")))
            sent += 1
        await asyncio.sleep(0)
    await closed
    connection.close()
    assert sent < 20_000
    assert (await doors.get(SCORE)).status_code == 200


async def test_a_connection_has_so_many_streams_and_no_more(doors: Rig) -> None:
    connection = await h2.Connection.open(doors.settings.listen_port)
    block = h2.block([*h2.request(SCORE, method="POST"), ("authorization", f"Bearer {KEY}")])
    for number in range(1025):  # none of them ends
        connection.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS, 2 * number + 1, block))
    how, _ = await connection.until_ended(2 * 1024 + 1)
    connection.close()
    assert how == "reset"
    assert (await doors.get(SCORE)).status_code == 200


async def test_slow_loris() -> None:
    async with Rig(headers_timeout_ms=300, connection_idle_timeout_ms=600) as rig:
        hasty = replace(rig.deployment("blue", "o1"), request_timeout_ms=300)
        await rig.router.apply(rig.endpoint(hasty, name="open", blue=100))
        table = [
            ("a head that never ends", f"GET {SCORE} HTTP/1.1\r\n{HOST}x-a: ", 408),
            ("a body that never ends", post("content-length: 10\r\n", body="abc"), 408),
            ("chunks that never end", post(CHUNKED, body="3\r\nabc\r\n"), 408),
            ("nothing at all", "", 0),
        ]
        answers = await asyncio.gather(*(raw.send(rig, request) for _, request, _ in table))
        assert [(row[0], answer.status) for row, answer in zip(table, answers, strict=True)] == [
            (what, status) for what, _, status in table
        ]
        assert {answer.code for answer in answers} == {"RequestTimeout", ""}
        assert (await rig.get("/endpoints/open/paths")).json()["paths"] == []  # no instance's time was taken


async def test_a_head_that_trickles() -> None:
    """Each byte comes in time, and the whole does not."""
    async with Rig(headers_timeout_ms=500) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.listen_port)
        answer = asyncio.create_task(raw.read(reader))
        for byte in head(HOST, f"x-a: {'y' * 200}\r\n").encode():
            if answer.done():
                break
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)
        assert (await answer).status == 408
        writer.close()
