"""The scorer beside azureml-inference-server-http 1.5.1: the same requests, the same answers.

What may differ is the table in ``docs/scorer-differences.md``, and nothing else.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from penstock_scorer.settings import Settings

from scorer.tests.differential import servers
from scorer.tests.differential.compare import differences, report
from scorer.tests.differential.requests import GENERATED, LISTED, get, post
from scorer.tests.differential.rules import RULES, explain
from scorer.tests.differential.scripts import SERVICES, UNDECORATED
from scorer.tests.differential.servers import Process, Request

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TABLE = Path(__file__).parents[3] / "docs" / "scorer-differences.md"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)
_GENERATED_FOR = ["undecorated", "headers", "numpy", "pandas", "standard", "raw", "cors", "cors_all"]

Pair = tuple[Process, Process]
Starter = Callable[..., Pair]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    running: list[Process] = []

    def start(text: str, environ: dict[str, str], *arguments: str) -> Pair:
        script = tmp_path_factory.mktemp("app") / "score.py"
        script.write_text(text)
        pair = (
            servers.start("peer", script, environ, *arguments),
            servers.start("ours", script, environ, *arguments),
        )
        running.extend(pair)
        return pair

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def pair(start: Starter) -> Callable[[str], Pair]:
    started: dict[str, Pair] = {}

    def pair(name: str) -> Pair:
        if name not in started:
            service = SERVICES[name]
            started[name] = start(service.text, service.environ, *service.arguments)
        return started[name]

    return pair


def compared(pair: Callable[[str], Pair], name: str, request: Request) -> tuple[set[str], str]:
    """The rows seen in one request's answers; and a report of what no row explains."""
    peer, ours = (server.send(request) for server in pair(name))
    found = differences(peer, ours)
    rows, left = explain(name, request, peer, ours, found)
    return rows, report(request, peer, ours, left) if left else ""


@pytest.mark.parametrize("name", LISTED)
def test_listed_requests(pair, name):
    unexplained = [text for _, text in (compared(pair, name, request) for request in LISTED[name]) if text]
    assert not unexplained, "\n".join(unexplained)


@pytest.mark.parametrize("name", _GENERATED_FOR)
def test_generated_requests(pair, name):
    """The same requests each time: what is found once stays found, and nobody's commit fails by another's luck."""
    check_generated(pair, name, settings(max_examples=60, derandomize=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", _GENERATED_FOR)
def test_many_generated_requests(pair, name):
    check_generated(pair, name, settings(max_examples=1500))


def check_generated(pair, name, how):
    @settings(how, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(GENERATED)
    def check(request):
        _, unexplained = compared(pair, name, request)
        assert not unexplained, unexplained

    check()


def test_the_table_is_what_the_test_knows():
    listed = _ROW.findall(TABLE.read_text())
    assert sorted(listed) == sorted({*RULES, *EVENTS})


@pytest.mark.parametrize("row", RULES)
def test_a_listed_difference_is_still_there(pair, row):
    rows, unexplained = compared(pair, *RULES[row].example)
    assert row in rows
    assert not unexplained


HOLD = """
import os, time
def init(): pass
def run(path):
    end = time.monotonic() + 20
    while os.path.exists(path) and time.monotonic() < end: time.sleep(0.01)
    return 1
"""


def health_port(start, _tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    peer, _ = start(UNDECORATED, {}, "--health_port", str(port))
    assert not Path(peer.uds.removesuffix(":1") + f":{port}").exists()
    for target, status in (("/", 200), ("/score", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", target)
        assert connection.getresponse().status == status
        connection.close()


def host(start, _tmp_path):
    peer, _ = start(UNDECORATED, {})
    asked = "from azureml_inference_server_http.constants import DEFAULT_HOST; print(DEFAULT_HOST)"
    said = subprocess.run([peer.python, "-c", asked], capture_output=True, check=True, text=True).stdout
    assert said.strip() == "0.0.0.0"
    assert Settings(Path("score.py"), Path()).host == "127.0.0.1"


def busy(start, tmp_path):
    held = tmp_path / "held"
    for server, answers in zip(start(HOLD, {}), (False, True), strict=True):
        held.touch()
        running = threading.Thread(target=server.send, args=(post(str(held).encode()),))
        running.start()
        time.sleep(0.3)
        try:
            assert server.send(get("/"), timeout=1).status == 200
            answered = True
        except TimeoutError:
            answered = False
        held.unlink()
        running.join()
        assert answered is answers


def half_closed(start, tmp_path):
    held = tmp_path / "held"
    for server, answers in zip(start(HOLD, {}), (True, False), strict=True):
        held.touch()
        path = str(held).encode()
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(10)
            wire.connect(server.uds)
            wire.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(path) + path)
            wire.shutdown(socket.SHUT_WR)
            time.sleep(0.3)  # nothing tells when a server has seen it
            held.unlink()
            assert bool(wire.recv(1)) is answers


EVENTS = {"health-port": health_port, "host": host, "busy": busy, "half-closed": half_closed}


@pytest.mark.parametrize("row", EVENTS)
def test_a_listed_event_still_differs(start, tmp_path, row):
    EVENTS[row](start, tmp_path)
