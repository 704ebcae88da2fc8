"""Answers in pieces, on real connections: a failure is seen, a slow reader is waited for, one who left is noticed."""

import http.client
import json
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from scorer.tests.waiting import eventually

pytestmark = pytest.mark.integration

SCRIPT = """
import json, os, time
def init(): pass
def run(data):
    kind = json.loads(data)
    def pieces():
        try:
            for number in range(kind.get("count", 10**9)):
                if number == kind.get("fail"): raise ValueError("boom")
                if number == kind.get("fork"):
                    if os.fork() == 0: time.sleep(600)
                yield kind["piece"] if isinstance(kind["piece"], dict) else kind["piece"] * kind.get("times", 1)
        finally:
            print("closed", flush=True)
    return pieces()
"""
ASYNC = SCRIPT.replace("def run", "async def run").replace("def pieces", "async def pieces")
MIXED = SCRIPT.replace("def run", "async def run")


@pytest.fixture(params=["tcp", "uds"])
def start(request: Any, serve: Any) -> Any:
    """A server, and connections to it."""

    def start(text: str = SCRIPT, **environ: str) -> Any:
        if request.param == "uds":
            server = serve(text, **environ)
            return server, server.connection
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = serve(text, "--port", str(port), ready=False, **environ)
        server.connection = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        server.wait_ready()
        return server, server.connection

    return start


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("text", [SCRIPT, ASYNC, MIXED], ids=["sync", "async", "mixed"])
@pytest.mark.parametrize(
    ("piece", "accept", "read"),
    [
        ("a", "", b"aaa"),
        ({"n": 1}, "", b'{"n": 1}\n' * 3 + b'{"message": "An unexpected error occurred in scoring script. '),
        ("a", "text/event-stream", b"data: a\n\n" * 3 + b'event: error\ndata: {"message": "An unexpected'),
    ],
    ids=["text", "lines", "events"],
)
def test_a_failure_breaks_the_answer_off_behind_what_was_sent(
    start: Any, text: str, piece: Any, accept: str, read: bytes
) -> None:
    server, connect = start(text)
    connection = connect()
    connection.request("POST", "/score", json.dumps({"piece": piece, "fail": 3}), {"accept": accept})
    response = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as error:
        response.read()
    if isinstance(error.value, http.client.IncompleteRead):
        assert error.value.partial.startswith(read)
    connection.close()
    other = connect()
    other.request("POST", "/score", json.dumps({"piece": piece, "count": 2}))
    assert other.getresponse().read()
    other.close()
    assert 'errors_total{kind="script"} 1' in server.get("/metrics").body.decode()
    assert eventually(lambda: open_pipes(server) == 0)
    assert server.stop() == 0


@pytest.mark.parametrize("text", [SCRIPT, ASYNC, MIXED], ids=["sync", "async", "mixed"])
def test_who_does_not_read_holds_the_script_back_and_its_leaving_is_noticed(start: Any, text: str) -> None:
    server, connect = start(text, PENSTOCK_MAX_CONCURRENT="2")
    (pid,) = server.workers()
    connection = connect()
    before = resident_kib(pid)
    connection.request("POST", "/score", json.dumps({"piece": "x" * 1000, "times": 100}))
    response = connection.getresponse()
    grown = []
    for _ in range(10):
        time.sleep(0.1)  # time to grow in
        grown.append(resident_kib(pid) - before)
    # Held in memory without a bound, the generator makes hundreds of MiB a second.
    assert grown[-1] < 16 * 1024, grown
    # The other slot serves meanwhile, even where both are coroutines on one loop.
    assert server.score(json.dumps({"piece": "a", "count": 2})).body == b"aa"
    assert server.out.read_text().count("closed") == 1
    # Whoever reads again gets everything.
    assert set(response.read(5_000_000)) == {ord("x")}
    response.close()
    connection.close()
    assert eventually(lambda: server.out.read_text().count("closed") == 2)
    assert 'errors_total{kind="disconnected"} 1' in server.get("/metrics").body.decode()
    assert eventually(lambda: open_pipes(server) == 0)
    assert server.stop() == 0


@pytest.mark.parametrize("text", [SCRIPT, ASYNC, MIXED], ids=["sync", "async", "mixed"])
def test_a_slow_reader_does_not_outlive_the_scoring_timeout(start: Any, text: str) -> None:
    server, connect = start(text, SCORING_TIMEOUT_MS="300")
    workers = server.workers()
    connection = connect()
    connection.request("POST", "/score", json.dumps({"piece": "x" * 100_000}))
    response = connection.getresponse()
    assert eventually(lambda: "closed" in server.out.read_text())
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()
    assert server.score(json.dumps({"piece": "a", "count": 1})).body == b"a"
    assert server.workers() == workers
    assert 'errors_total{kind="timeout"} 1' in server.get("/metrics").body.decode()


def test_a_client_that_leaves_before_the_first_piece_costs_nothing(serve: Any) -> None:
    server = serve(
        "import time\ndef init(): pass\ndef run(data):\n    time.sleep(0.2)\n    yield 'a'\n    yield 'b'\n",
    )
    for _ in range(5):
        connection = server.connection()
        connection.request("POST", "/score", "x")
        connection.close()
    assert server.score("x").body == b"ab"
    assert eventually(lambda: open_pipes(server) == 0)


def test_a_process_that_the_script_forks_does_not_keep_the_answer_open(start: Any) -> None:
    _, connect = start()
    connection = connect()
    connection.request("POST", "/score", json.dumps({"piece": "a", "fork": 2, "count": 4}))
    assert connection.getresponse().read() == b"aaaa"
    connection.close()


@pytest.mark.parametrize(("pieces", "body"), [(["", "a", "", "b", ""], b"ab"), (["", ""], b""), ([], b"")])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_empty_pieces_are_none(start: Any, kind: str, pieces: Any, body: bytes) -> None:
    _, connect = start(f"def init(): pass\n{kind} run(data):\n    for piece in {pieces}: yield piece\n")
    connection = connect()
    for _ in range(3):
        connection.request("POST", "/score", "x")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, body)
    connection.close()


def test_pieces_arrive_one_by_one(start: Any) -> None:
    server, connect = start(
        "import os, time\ndef init(): pass\ndef run(data):\n    yield 'a'\n"
        "    while not os.path.exists(data): time.sleep(0.01)\n    yield 'b'\n"
    )
    gate = Path(server.failure_file).parent / "go"
    connection = connect()
    connection.request("POST", "/score", str(gate))
    response = connection.getresponse()
    assert response.read(1) == b"a"
    assert not select.select([connection.sock], [], [], 0.2)[0]
    gate.touch()
    assert response.read() == b"b"
    connection.close()


def test_over_http2_the_one_stream_is_reset(serve: Any) -> None:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.run([curl, "-V"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("there is no curl that speaks HTTP/2")
    server = serve(SCRIPT)
    fails, holds = json.dumps({"piece": "a", "fail": 3}), json.dumps({"piece": "a", "count": 3})
    command = [curl, "-sS", "--http2-prior-knowledge", "--unix-socket", server.uds, "http://x/score", "-d"]
    broken = subprocess.run([*command, fails], capture_output=True, check=False, timeout=20)
    assert broken.returncode == 92, broken.stderr  # CURLE_HTTP2_STREAM
    assert broken.stdout.startswith(b"aaa")
    assert subprocess.run([*command, holds], capture_output=True, check=True, timeout=20).stdout == b"aaa"


def open_pipes(server: Any) -> int:
    """Pipes that the worker holds, but for its standard streams."""
    (pid,) = server.workers()
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += int(entry.name) > 2 and entry.readlink().name.startswith("pipe:")
        except OSError:
            continue
    return found
