"""A real scorer under clients of every kind: no answer is lost, doubled or another's, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer.auth.policy import dump

from scorer.tests.stress import Client, Tally, crowd
from scorer.tests.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

CLIENTS = 16
LIMIT = 100_000
REST_S = 0.15
"""A connection that rested so long may be closed, the announcement of the end having passed it by."""
ANSWER = """
import json, time, asyncio
def init(): pass
def answer(told):
    if told["kind"] == "fail": raise ValueError(told["token"])
    if told["kind"] == "big": return {"token": told["token"], "big": "b" * 400_000}
    return {"token": told["token"]}
"""
BLOCKING = """
def pieces(told):
    for number in range(told["pieces"]): yield f"{told['token']}:{number};"
def run(data):
    told = json.loads(data)
    if told["kind"] == "stream": return pieces(told)
    if told["kind"] == "sleep": time.sleep(told["seconds"])
    return answer(told)
"""
AWAITED = """
async def pieces(told):
    for number in range(told["pieces"]): yield f"{told['token']}:{number};"
async def run(data):
    told = json.loads(data)
    if told["kind"] == "stream": return pieces(told)
    if told["kind"] == "sleep": await asyncio.sleep(told["seconds"])
    return answer(told)
"""
BATCHED = """
from penstock_scorer import batched
@batched(max_size=8)
def run(inputs):
    told = [json.loads(data) for data in inputs]
    time.sleep(max(one.get("seconds", 0) for one in told))
    return [ValueError("no") if one["kind"] == "fail" else answer(one) for one in told]
"""
MIXED = {"quick": 10, "sleep": 3, "stream": 2, "big": 1, "fail": 2, "health": 1, "head": 1}
QUICK = {"quick": 300, "sleep": 1, "stream": 10, "big": 1, "fail": 3, "health": 10, "head": 10}
UNCOLLECTED = (
    BLOCKING
    + """
def init():
    import gc
    gc.collect(); gc.freeze(); gc.disable()
"""
)
CONFIGURATIONS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "one": (BLOCKING, [], {}),
    "quick": (BLOCKING, [], {}),
    "tcp": (BLOCKING, ["--port"], {}),
    "slots": (BLOCKING, [], {"PENSTOCK_MAX_CONCURRENT": "4"}),
    "workers": (BLOCKING, ["--worker_count", "2"], {}),
    "awaited": (AWAITED, [], {"PENSTOCK_MAX_CONCURRENT": "4"}),
    "batched": (BATCHED, [], {}),
    "uncollected": (UNCOLLECTED, [], {}),
    "guarded": (BLOCKING, [], {"PENSTOCK_AUTH_POLICY": "policy.json"}),
}
everyone = pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "uncollected"])


class Stage:
    """A scorer of one configuration, and its clients."""

    def __init__(self, serve: Callable[..., Any], name: str, folder: Path) -> None:
        script, arguments, environ = CONFIGURATIONS[name]
        self.key, self.port = "", 0
        if "PENSTOCK_AUTH_POLICY" in environ:
            self.key, policy = "k", folder / "policy.json"
            policy.write_text(dump(bytes(16), {"primary": self.key}))
            environ = {"PENSTOCK_AUTH_POLICY": str(policy)}
        if arguments == ["--port"]:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            arguments = ["--port", str(self.port)]
        self.mix = QUICK if name == "quick" else MIXED
        if name == "batched":
            self.mix = {**MIXED, "stream": 0}
        self.tally = Tally()
        self.server = serve(
            ANSWER + script, *arguments, ready=False, PENSTOCK_MAX_REQUEST_BYTES=str(LIMIT),
            PENSTOCK_MAX_QUEUE="100000", **environ,
        )  # fmt: skip
        assert eventually(lambda: "Ready at" in self.server.out.read_text()), self.server.err.read_text()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET if self.port else socket.AF_UNIX)
        sock.settimeout(20)
        try:
            while True:
                try:
                    sock.connect(("127.0.0.1", self.port) if self.port else self.server.uds)
                    break
                except BlockingIOError:  # so many wait to be accepted
                    time.sleep(0.01)
        except BaseException:
            sock.close()
            raise
        return sock

    def clients(self, seed: int) -> list[Client]:
        return [Client(self.connect, seed + index, self.tally, self.mix, self.key) for index in range(CLIENTS)]

    def get(self, path: str) -> str:
        with self.connect() as sock:
            key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\n".encode())
            said = b""
            while piece := sock.recv(65536):
                said += piece
            return said.decode()

    def counted(self, name: str) -> dict[str, int]:
        found = re.findall(rf'^penstock_scorer_{name}(?:{{\w+="(\w+)"}})? (\d+)$', self.get("/metrics"), re.MULTILINE)
        return {label: int(count) for label, count in found}

    def held(self) -> list[tuple[int, int]]:
        """Descriptors and threads of each worker."""
        return [
            (len([*Path(f"/proc/{pid}/fd").iterdir()]), len([*Path(f"/proc/{pid}/task").iterdir()]))
            for pid in sorted(self.server.workers())
        ]


@pytest.fixture
def stage(serve: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    return lambda name: Stage(serve, name, tmp_path)


def post(told: dict[str, Any]) -> bytes:
    body = json.dumps(told).encode()
    return b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_no_answer_waits_for_what_runs_behind_it(stage: Callable[[str], Stage]) -> None:
    """Quick ones and then a long one wait for the one that runs: their answers go out before that is done."""
    one = stage("one")
    clients = [one.connect() for _ in range(6)]
    for _ in range(5):
        clients[0].sendall(post({"kind": "sleep", "token": "long", "seconds": 0.1}))
        time.sleep(0.05)
        for client in clients[1:-1]:
            client.sendall(post({"kind": "quick", "token": "quick"}))
        clients[-1].sendall(post({"kind": "sleep", "token": "long", "seconds": 0.5}))
        began = time.monotonic()
        took = []
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            took.append(time.monotonic() - began)
        assert took[-2] < 0.4
        assert took[-1] > 0.5
    for client in clients:
        client.close()


def asked(sock: socket.socket, token: str, kind: str) -> tuple[str, float]:
    """How a request is answered, ``whole``, ``closed`` (and whole), ``half`` or ``lost``, and when it was sent."""
    said, whole, sent = b"", False, time.monotonic()
    request = post({"kind": kind, "token": token, "seconds": 0.02, "pieces": 3})
    try:
        sock.sendall(request)
        sent = time.monotonic()
        while not whole and (piece := sock.recv(65536)):
            said += piece
            whole = said.endswith(b"0\r\n\r\n" if kind == "stream" else token.encode() + b'"}')
    except (BrokenPipeError, ConnectionResetError):
        pass
    if not whole:
        return "half" if said else "lost", sent
    return "closed" if b"connection: close\r\n" in said else "whole", sent


@pytest.mark.parametrize("name", ["one", "workers", "awaited"])
def test_what_was_taken_is_answered_at_sigterm(stage: Callable[[str], Stage], name: str) -> None:
    some = stage(name)
    answers: Counter[str] = Counter()
    told = threading.Event()

    def ask(number: int) -> None:
        while not told.is_set():
            try:
                sock = some.connect()
            except OSError:
                return  # it listens no more
            with sock:
                ended = -REST_S
                for count in range(10**9):
                    how, sent = asked(sock, f"t{number}-{count}", ("quick", "sleep", "stream")[count % 3])
                    rested, ended = sent - ended, time.monotonic()
                    # One that nobody has accepted may be lost, and one of a client that did not run for so long that
                    # its connection was closed meanwhile; none that follows an answer.
                    answers["late" if how == "lost" and rested >= REST_S else how] += 1
                    if how != "whole":
                        break

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    some.server.process.send_signal(signal.SIGTERM)
    assert some.server.process.wait(20) == 0
    told.set()
    for thread in threads:
        thread.join(20)
    assert answers["half"] == answers["lost"] == 0, answers
    assert answers["closed"] >= CLIENTS // 2
    assert answers["whole"] > 100


@pytest.mark.slow
def test_connections_leave_nothing_behind(stage: Callable[[str], Stage]) -> None:
    """30,000 of them, used once and left at any time, in a process that never collects its garbage."""
    some = stage("uncollected")
    (pid,) = some.server.workers()
    whole = post({"kind": "quick", "token": "t"})
    ways = [
        (whole, 1),
        (post({"kind": "stream", "token": "t", "pieces": 200}), 1),
        (post({"kind": "sleep", "token": "t", "seconds": 0.001}), 0),
        (whole * 4, 0),
        (whole[:-5], 0),
        (whole[:20], 0),
        (whole.replace(b"Host", b"Connection: close\r\nHost"), 1),
        (b"GARBAGE\r\n\r\n", 1),
    ]

    def pss() -> int:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])

    def go(count: int) -> int:
        for index in range(count):
            sent, received = ways[index % len(ways)]
            with some.connect() as sock:
                sock.sendall(sent)
                if received:
                    sock.recv(1000)
        assert eventually(lambda: some.counted("requests_in_flight") == {"": 0})
        return pss()

    sizes = [go(10_000 if index == 0 else 5_000) for index in range(5)]
    print(f"PSS in KiB after 10,000 connections and each 5,000 more: {sizes}")  # noqa: T201 - the figures are the point
    # 20 bytes a connection.
    assert sizes[-1] - sizes[0] < 400


def storm(stage: Stage, seconds: float, seed: int) -> None:
    """Clients for so long; then nothing of them is left."""
    # Whatever is made with the first requests is there.
    crowd(stage.clients(seed), min(1.0, seconds / 4))
    assert eventually(lambda: stage.counted("requests_in_flight") == {"": 0})
    assert eventually(lambda: all(descriptors < 60 for descriptors, _ in stage.held()))
    assert eventually(lambda: stage.held() == stage.held())
    time.sleep(0.2)
    before, pids = stage.held(), stage.server.workers()
    crowd(stage.clients(seed + 1000), seconds)
    tally = stage.tally
    assert tally.problems == []
    began = time.monotonic()
    assert "Healthy" in stage.get("/")
    assert time.monotonic() - began < 1
    assert eventually(lambda: stage.counted("requests_in_flight") == {"": 0}), stage.counted("requests_in_flight")
    assert eventually(lambda: stage.held() == before), (before, stage.held())
    codes = stage.counted("requests_total")
    for status in (200, 413, 500):
        if status != 500 or codes["500"]:
            assert tally.answers[status] <= codes[str(status)] <= tally.answers[status] + tally.left
    assert codes["401"] == tally.answers[401]
    assert sum(codes.values()) >= sum(tally.answers.values())
    assert "A fault in the scorer" not in stage.server.err.read_text()
    assert stage.server.workers() == pids
    assert stage.server.stop() == 0
    print(f"answers {dict(tally.answers)}, left {tally.left}, acts {dict(tally.acts)}")  # noqa: T201 - figures


@pytest.mark.parametrize("name", ["quick", "slots", "workers", "awaited", "batched"])
def test_a_crowd(stage: Callable[[str], Stage], name: str) -> None:
    storm(stage(name), 1.5, seed=1)


@pytest.mark.slow
@everyone
def test_a_crowd_for_long(stage: Callable[[str], Stage], name: str) -> None:
    storm(stage(name), 60, seed=int(os.environ.get("STRESS_SEED", "7")))
