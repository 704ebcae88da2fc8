"""The real command: clients that leave, scripts that hang, limits counted from inside, batches under load."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scorer.tests.waiting import eventually

pytestmark = pytest.mark.integration

SCRIPT = """
import ctypes, json, os, time
def init(): pass
def run(data):
    data = json.loads(data)
    if "note" in data: print("ran", data["note"])
    if "sleep" in data: time.sleep(data["sleep"])
    if "hold" in data: ctypes.PyDLL(None).sleep(data["hold"])  # native code that keeps the interpreter's lock
    if "usleep" in data: ctypes.CDLL(None).sleep(data["usleep"])
    return os.getpid()
"""
STREAM = """
import json, time
def init(): pass
def run(data):
    data = json.loads(data)
    def pieces():
        try:
            for number in range(data["count"]):
                if number == data.get("fail"): raise ValueError("boom")
                yield "x" * data.get("size", 10) + "\\n"
                time.sleep(data.get("gap", 0))
        finally:
            print("closed", number)
    return pieces()
"""
# Counts, in shared memory, how many run at once over all workers and how often each request ran.
COUNTING = """
import fcntl, json, os, time
def init():
    global log
    log = os.open(os.environ["LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def run(data):
    os.write(log, f"{time.monotonic_ns()} + {data} {os.getpid()}\\n".encode())
    time.sleep(float(os.environ.get("NAP", "0.003")))
    os.write(log, f"{time.monotonic_ns()} - {data} {os.getpid()}\\n".encode())
    return data
"""


def errors(server: Any, kind: Any) -> float:
    text = server.get("/metrics").body.decode()
    return float(text.split(f'errors_total{{kind="{kind}"}} ')[1].split()[0])


def ask(server: Any, body: Any) -> http.client.HTTPConnection:
    connection = server.connection()
    connection.request("POST", "/score", json.dumps(body))
    return connection


def test_work_whose_client_left_is_dropped_before_it_starts(serve: Any) -> None:
    server = serve(SCRIPT)
    first = ask(server, {"sleep": 1, "note": "first"})
    time.sleep(0.1)
    waiting = [ask(server, {"note": f"left {number}"}) for number in range(5)]
    stayed = ask(server, {"note": "stayed"})
    time.sleep(0.2)
    for connection in waiting:
        connection.close()
    assert eventually(lambda: errors(server, "disconnected") == 5, 0.6)
    assert (first.getresponse().status, stayed.getresponse().status) == (200, 200)
    assert "requests_in_flight 0" in server.get("/metrics").body.decode()
    out = server.out.read_text()
    assert "ran first" in out
    assert "ran stayed" in out
    assert "ran left" not in out
    first.close()
    stayed.close()


def test_a_watched_connection_can_be_used_again(serve: Any) -> None:
    """The watch of an earlier request on the connection must not be what its end wakes."""
    server = serve(SCRIPT)
    connection = server.connection()
    for _ in range(3):
        blocker = ask(server, {"sleep": 0.15})
        time.sleep(0.03)
        connection.request("POST", "/score", "{}")
        assert connection.getresponse().read()
        blocker.getresponse().read()
        blocker.close()
    blocker = ask(server, {"sleep": 0.5})
    time.sleep(0.05)
    connection.request("POST", "/score", '{"note": "left"}')
    time.sleep(0.1)
    connection.close()
    assert eventually(lambda: errors(server, "disconnected") == 1, 0.5)
    blocker.getresponse().read()
    blocker.close()


def test_the_callers_deadline_drops_what_would_be_late(serve: Any) -> None:
    server = serve(SCRIPT)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.score, '{"sleep": 0.5}')
        time.sleep(0.1)
        answer = server.request("POST", "/score", '{"note": "late"}', x_envoy_expected_rq_timeout_ms="100")
        assert (answer.status, slow.result().status) == (503, 200)
    assert errors(server, "expired") == 1
    assert "ran late" not in server.out.read_text()


@pytest.mark.parametrize("how", ["usleep", "hold"])
def test_a_worker_stuck_in_native_code_is_replaced_while_the_other_serves(serve: Any, how: Any) -> None:
    server = serve(
        SCRIPT, "--worker_count", "2",
        SCORING_TIMEOUT_MS="200", WORKER_TIMEOUT="1", PENSTOCK_DRAIN_SECONDS="0",
    )  # fmt: skip
    before = set(server.workers())
    stuck = ask(server, {how: 600})
    time.sleep(0.1)
    if how == "usleep":
        answer = stuck.getresponse()
        assert (answer.status, json.loads(answer.read())["message"]) == (500, "Scoring timeout after 200 ms")
    served = 0
    end = time.monotonic() + 10
    while set(server.workers()) == before and time.monotonic() < end:
        connection = server.connection()
        connection.timeout = 0.3
        try:
            connection.request("POST", "/score", "{}")
            served += connection.getresponse().status == 200
        except TimeoutError:
            # It was the stuck worker that accepted: only replacing it can help.
            pass
        except OSError:
            time.sleep(0.01)
        connection.close()
    assert served
    assert len(before & set(server.workers())) == 1
    assert eventually(lambda: len(server.workers()) == 2)
    assert eventually(lambda: "workers_ready 2" in server.get("/metrics").body.decode())
    stuck.close()


def test_a_stream_is_flushed_as_produced_and_stopped_when_the_client_leaves(serve: Any) -> None:
    server = serve(STREAM)
    connection = ask(server, {"count": 1000, "gap": 0.05})
    began = time.monotonic()
    response = connection.getresponse()
    assert response.readline() == b"x" * 10 + b"\n"
    assert response.readline() == b"x" * 10 + b"\n"
    assert time.monotonic() - began < 5
    connection.close()
    response.close()
    assert eventually(lambda: "closed" in server.out.read_text(), 5)
    assert int(server.out.read_text().split("closed ")[1].split()[0]) < 900
    assert errors(server, "disconnected") == 1
    assert server.score('{"count": 2}').body == (b"x" * 10 + b"\n") * 2


def test_a_stream_that_fails_over_tcp_is_cut(serve: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(STREAM, "--port", str(port), ready=False)
    assert eventually(lambda: "Ready at" in server.out.read_text())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/score", '{"count": 5, "fail": 3}')
    response = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    other.request("POST", "/score", '{"count": 2}')
    assert other.getresponse().read().count(b"x\n") == 2
    other.close()


@pytest.mark.parametrize(("workers", "limit"), [("1", 1), ("1", 3), ("2", 4), ("2", 3)])
def test_never_more_at_once_than_allowed_none_lost_none_twice(
    serve: Any, tmp_path: Any, workers: Any, limit: Any
) -> None:
    log = tmp_path / "log"
    server = serve(
        COUNTING, "--worker_count", workers,
        LOG=str(log), PENSTOCK_MAX_CONCURRENT=str(limit), PENSTOCK_MAX_QUEUE_WAIT_MS="15",
    )  # fmt: skip
    numbers = iter(range(10_000))
    answered: dict[str, int] = {}

    def caller() -> None:
        connection = server.connection()
        for _ in range(60):
            body = f"r{next(numbers)}"
            connection.request("POST", "/score", body)
            response = connection.getresponse()
            text = response.read()
            answered[body] = response.status
            if response.status == 200:
                assert json.loads(text) == body
            else:
                assert (response.status, response.headers["retry-after"]) == (429, "1")
        connection.close()

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(caller) for _ in range(16)]:
            future.result()
    events = sorted(line.split() for line in log.read_text().splitlines())
    running, most, ran = 0, 0, []
    for _, sign, body, _ in events:
        running += 1 if sign == "+" else -1
        most = max(most, running)
        if sign == "+":
            ran.append(body)
    # Whether every slot was busy at one moment is up to the machine; that no more were is up to us.
    assert 1 <= most <= limit
    assert sorted(ran) == sorted(body for body, status in answered.items() if status == 200)
    assert len(ran) == len(set(ran))
    assert len(answered) == 960


def test_one_caller_after_another_is_never_refused(serve: Any, tmp_path: Any) -> None:
    """With no queue at all, the slot counts as free by the time its answer is read."""
    server = serve(COUNTING, LOG=str(tmp_path / "log"), NAP="0", PENSTOCK_MAX_QUEUE_WAIT_MS="0")
    connection = server.connection()
    for _ in range(3000):
        connection.request("POST", "/score", "x")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()


def test_an_async_script_serves_as_many_at_once_as_it_may(serve: Any) -> None:
    server = serve(
        "import asyncio, time\nasync def init(): pass\n"
        "async def run(data):\n    await asyncio.sleep(0.4)\n    return data",
        PENSTOCK_MAX_CONCURRENT="8",
    )
    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda number: server.score(str(number)), range(8)))
        assert time.monotonic() - began < 1.5
    assert [json.loads(answer.body) for answer in answers] == [str(number) for number in range(8)]
    assert server.stop() == 0


@pytest.mark.parametrize("limit", [{}, {"PENSTOCK_MAX_CONCURRENT": "1"}], ids=["none", "the hosted default"])
def test_batches_form_under_load_and_answers_find_their_callers(serve: Any, limit: Any) -> None:
    server = serve(
        "import time\nfrom penstock_scorer import batched\ndef init(): pass\n"
        "@batched(max_size=8, max_delay_ms=5)\n"
        "def run(inputs):\n    time.sleep(0.002)\n"
        "    if 'bad' in inputs: raise ValueError\n    return [text + '!' for text in inputs]",
        **limit,
    )

    def caller(name: Any) -> None:
        connection = server.connection()
        for number in range(50):
            body = "bad" if name == 3 and number % 10 == 0 else f"{name}-{number}"
            connection.request("POST", "/score", body)
            response = connection.getresponse()
            text = json.loads(response.read())
            if body == "bad":
                assert response.status == 500
            else:
                assert (response.status, text) == (200, body + "!")
        connection.close()

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(caller, name) for name in range(16)]:
            future.result()
    text = server.get("/metrics").body.decode()
    calls = float(text.split("penstock_scorer_batch_size_count ")[1].split()[0])
    assert calls < 400
    assert errors(server, "script") == 5


GATED = """
import os, time
from penstock_scorer import batched
def init(): pass
@batched(max_size=4, max_delay_ms=0)
def run(inputs):
    os.write(1, f"batch of {len(inputs)}\\n".encode())
    while not os.path.exists(os.environ["GATE"]): time.sleep(0.005)
    return inputs
"""


@pytest.mark.parametrize(("limit", "places"), [("1", 4), ("2", 2), ("3", 3), ("8", 8)])
def test_a_limit_of_one_is_one_full_batch_and_a_larger_one_counts_requests(
    serve: Any, tmp_path: Any, limit: str, places: int
) -> None:
    """With no waiting allowed, so many are taken and not one more."""
    gate = tmp_path / "gate"
    server = serve(GATED, GATE=str(gate), PENSTOCK_MAX_CONCURRENT=limit, PENSTOCK_MAX_QUEUE_WAIT_MS="0")
    taken = [ask(server, f"r{number}") for number in range(places)]
    assert eventually(lambda: f"requests_in_flight {places}" in server.get("/metrics").body.decode())
    for _ in range(3):
        refused = server.score("more")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    gate.touch()
    for number, connection in enumerate(taken):
        response = connection.getresponse()
        assert (response.status, json.loads(json.loads(response.read()))) == (200, f"r{number}")
        connection.close()
    sizes = [int(line.split()[-1]) for line in server.out.read_text().splitlines() if line.startswith("batch of")]
    assert sum(sizes) == places
    assert max(sizes) <= min(4, places)


def test_what_waits_longer_than_it_may_is_refused_beside_a_batch_too(serve: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    server = serve(GATED, GATE=str(gate), PENSTOCK_MAX_CONCURRENT="1", PENSTOCK_MAX_QUEUE_WAIT_MS="200")
    first = ask(server, "first")
    assert eventually(lambda: "batch of 1" in server.out.read_text())
    with ThreadPoolExecutor(5) as pool:
        assert [answer.status for answer in pool.map(server.score, "abcde")] == [429] * 5
    gate.touch()
    assert first.getresponse().status == 200
    first.close()
    with ThreadPoolExecutor(5) as pool:
        assert [answer.status for answer in pool.map(server.score, "abcde")] == [200] * 5
