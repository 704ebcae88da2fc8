"""Bytes no honest client sends, on a raw socket: an answer or a closed connection, and nobody else notices."""

import contextlib
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.tests.conftest import Server

pytestmark = pytest.mark.integration

SCRIPT = "def init(): pass\ndef run(data): return len(data)"
LIMIT = 100_000
POST = b"POST /score HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /score HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def talk(uds: str, data: bytes, *, half_close: bool = False, timeout: float = 10) -> bytes:
    """What comes back up to the end of the first answer; nothing when the connection is closed without one."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(timeout)
        wire.connect(uds)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.sendall(data)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while not complete(answer):
                received = wire.recv(65536)
                if not received:
                    break
                answer += received
        return answer


def complete(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    if head.startswith(b"HTTP/1.1 100"):
        return complete(body)
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def server() -> Any:
    """One server for all the bytes: what harms it shows in the next test."""
    with tempfile.TemporaryDirectory(prefix="wr-", dir="/tmp") as folder:
        script = Path(folder) / "score.py"
        script.write_text(SCRIPT)
        environ = {"PENSTOCK_MAX_REQUEST_BYTES": str(LIMIT), "PENSTOCK_ACCESS_LOG": "true"}
        running = Server(Path(folder), ["--entry_script", str(script)], environ, sys.executable)
        running.wait_ready()
        yield running
        assert running.stop() == 0


CASES: dict[str, tuple[bytes, int]] = {
    "chunks": (CHUNKED + chunks(b"ab", b"cd"), 200),
    "no chunk": (CHUNKED + chunks(), 200),
    "a chunk a byte": (CHUNKED + chunks(*[b"x"] * 5000), 200),
    "chunks up to the limit": (CHUNKED + chunks(*[b"x" * (LIMIT // 10)] * 10), 200),
    "chunks beyond the limit": (CHUNKED + chunks(*[b"x" * (LIMIT // 10)] * 10, b"x"), 413),
    "a chunk without end": (CHUNKED + b"fffffffffffffff\r\n" + b"x" * (LIMIT + 1), 413),
    "a length that is no number": (CHUNKED + b"ZZ\r\n", 400),
    "a broken second chunk": (CHUNKED + chunks(b"ab", end=b"ZZ\r\n"), 400),
    "a chunk length beyond 64 bits": (CHUNKED + b"f" * 17 + b"\r\n", 400),
    "trailers": (CHUNKED + chunks(b"ab", end=b"0\r\nX: y\r\n\r\n"), 200),
    "the limit": (POST + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * LIMIT, 200),
    "beyond the limit, announced": (POST + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 413),
    "beyond the limit, sent": (POST + b"Content-Length: 30000000\r\n\r\n" + b"x" * 30_000_000, 413),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabcd", 400),
    "a length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abcd"), 400),
    "an unknown coding": (POST + b"Transfer-Encoding: identity\r\n\r\nabcd", 400),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no version": (b"GET /score\r\n\r\n", 400),
    "HTTP/1.0": (b"GET /score HTTP/1.0\r\n\r\n", 200),
    "a line break in a header": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "a null in a header": (GET + b"X: a\0b\r\n\r\n", 400),
    "a null in the path": (b"GET /sc\0re HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bytes in the path": (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a header name with a space": (GET + b"X Y: a\r\n\r\n", 400),
    "500 headers": (GET + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n", 431),
    "a header of a megabyte": (GET + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
    "a path of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "an absolute target": (b"GET http://other/score HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "an upgrade nobody offers": (
        GET + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 200,
    ),
    "a deadline of 5000 digits": (
        POST + b"x-envoy-expected-rq-timeout-ms: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n", 200,
    ),
    "a deadline in other digits": (
        POST + "x-envoy-expected-rq-timeout-ms: ٣\r\nContent-Length: 0\r\n\r\n".encode(), 200,
    ),
    "an id of 10 kB": (GET + b"x-request-id: " + b"r" * 10_000 + b"\r\n\r\n", 431),
    "a broken traceparent": (GET + b"traceparent: 00-zz\r\n\r\n", 200),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_answer_to_each(server: Any, name: str) -> None:
    data, status = CASES[name]
    assert talk(server.uds, data).split(b" ", 2)[1] == str(status).encode()
    assert server.score(b"abc").body == b"3"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"G", GET, POST + b"Content-Length: 10\r\n\r\nabc", CHUNKED + chunks(b"ab", end=b""), CHUNKED + b"5",
        GET + b"\r\n",
    ],
)  # fmt: skip
def test_half_closed_connections_are_closed(server: Any, data: bytes) -> None:
    answer = talk(server.uds, data, half_close=True)
    assert not answer or answer.split(b" ", 2)[1] in (b"200", b"400", b"408")
    assert server.score(b"abc").body == b"3"


def test_a_half_closed_request_counts_as_left_and_frees_its_place(serve: Any) -> None:
    server = serve(
        "import time\ndef init(): pass\ndef run(data): time.sleep(float(data)); print('ran', data, flush=True)",
        PENSTOCK_MAX_QUEUE_WAIT_MS="0",
    )
    whole = POST + b"Content-Length: 3\r\n\r\n"
    assert talk(server.uds, whole + b"0.5", half_close=True, timeout=5) == b""
    # It has been started, and no other may be until it ends.
    assert talk(server.uds, whole + b"0.0", timeout=5).startswith(b"HTTP/1.1 429 ")
    end = time.monotonic() + 10
    while b"requests_in_flight 0" not in server.get("/metrics").body and time.monotonic() < end:
        time.sleep(0.02)
    assert server.score(b"0.0").status == 200
    assert server.out.read_text().count("ran") == 2
    assert server.stop() == 0


def test_half_closed_requests_that_wait_are_dropped(serve: Any) -> None:
    server = serve(
        "import time\ndef init(): pass\ndef run(data): time.sleep(float(data)); print('ran', data, flush=True)"
    )
    whole = POST + b"Content-Length: 3\r\n\r\n"
    for seconds in (b"0.5", b"0.1", b"0.2"):
        assert talk(server.uds, whole + seconds, half_close=True, timeout=5) == b""
    assert server.score(b"0.0").status == 200
    assert [line for line in server.out.read_text().splitlines() if line.startswith("ran")] == ["ran 0.5", "ran 0.0"]
    assert b'errors_total{kind="disconnected"} 2' in server.get("/metrics").body


def test_clients_that_dawdle_hold_up_nobody(server: Any) -> None:
    waiting = []
    for number in range(50):
        wire = socket.socket(socket.AF_UNIX)
        wire.connect(server.uds)
        wire.sendall((POST + b"Content-Length: 10\r\n\r\n", CHUNKED + b"5\r\na", b"POST /sc", b"")[number % 4])
        waiting.append(wire)
    began = time.monotonic()
    for _ in range(20):
        assert server.score(b"abc").body == b"3"
    assert time.monotonic() - began < 5
    for wire in waiting:
        wire.close()
    end = time.monotonic() + 10
    while b"requests_in_flight 0" not in server.get("/metrics").body and time.monotonic() < end:
        time.sleep(0.02)
    assert b"requests_in_flight 0" in server.get("/metrics").body


PIECES = st.sampled_from([
    b"GET ", b"POST ", b"/score", b"/", b" HTTP/1.1\r\n", b"Host: x\r\n", b"Content-Length: ", b"5", b"-1", b"\r\n",
    b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"x-request-id: ",
    b"traceparent: ",
    b"?a=1&a", b"%ff", b"Content-Type: application/json\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\0\4\0\0\0\0\0",
    b'{"a": [', b"Connection: close\r\n", b"Expect: 100-continue\r\n",
]) | st.binary(max_size=12)  # fmt: skip


def test_any_bytes(server: Any) -> None:
    @settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(PIECES, max_size=14).map(b"".join))
    def check(data: bytes) -> None:
        answer = talk(server.uds, data, half_close=True)
        assert b" 500 " not in answer.split(b"\r\n", 1)[0]

    check()
    assert server.score(b"abc").body == b"3"
    metrics = server.get("/metrics").body
    assert b'errors_total{kind="internal"} 0' in metrics
    assert b"worker_restarts_total 0" in metrics
    assert b"Traceback" not in server.err.read_bytes()
