"""The real command on a Unix socket: life, death and load."""

import contextlib
import http.client
import json
import resource
import signal
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer.auth.policy import dump
from penstock_scorer.supervision.sockets import bind_tcp

from scorer.tests.waiting import eventually

pytestmark = pytest.mark.integration

SCRIPT = """
import json, os, signal, sys, threading, time
def init():
    global thread
    thread = threading.get_ident()
    print("init done")
def run(data):
    data = json.loads(data)
    if "sleep" in data: time.sleep(data["sleep"])
    if "spin" in data:
        while True: pass
    if "exit" in data: sys.exit(data["exit"])
    if "_exit" in data: os._exit(data["_exit"])
    if "kill" in data: os.kill(os.getpid(), signal.SIGSEGV)
    if "boom" in data: raise ValueError("boom")
    if "print" in data: print(data["print"])
    return {"pid": os.getpid(), "same_thread": thread == threading.get_ident(), "big": "x" * data.get("big", 0)}
"""


def test_it_serves(serve: Any) -> None:
    server = serve(SCRIPT)
    assert stat.S_IMODE(Path(server.uds).stat().st_mode) == 0o600
    answer = server.score('{"print": "hello"}', x_request_id="me")
    assert (answer.status, answer.headers["x-request-id"]) == (200, "me")
    assert json.loads(answer.body)["same_thread"] is True
    assert len(json.loads(server.score('{"big": 3000000}').body)["big"]) == 3_000_000
    assert server.request("POST", "/score", b"x" * 5_000_000).status == 500
    text = server.get("/metrics").body.decode()
    assert 'penstock_scorer_requests_total{code="200"} 2' in text
    assert 'penstock_scorer_errors_total{kind="script"} 1' in text
    assert "penstock_scorer_requests_in_flight 0" in text
    assert server.stop() == 0
    out = server.out.read_text()
    assert out.index("Server settings") < out.index("init done") < out.index("hello")
    assert out.count("hello") == 1
    assert "Authentication: OFF" in out
    assert not Path(server.uds).exists()


def test_the_collector_leaves_alone_what_init_loaded(serve: Any) -> None:
    server = serve("""
        import gc
        def init():
            global model
            model = [[] for _ in range(100_000)]
        def run(data): return gc.get_freeze_count()
    """)
    assert json.loads(server.score().body) > 100_000


def test_health_is_answered_while_the_script_computes(serve: Any) -> None:
    server = serve(SCRIPT)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.score, '{"sleep": 1}')
        time.sleep(0.2)
        began = time.monotonic()
        assert server.get("/").status == 200
        assert time.monotonic() - began < 0.6
        assert "requests_in_flight 1" in server.get("/metrics").body.decode()
        assert slow.result().status == 200


@pytest.mark.parametrize(
    ("text", "reason", "message", "last"),
    [
        (None, "ScriptNotFound", "does not exist", ""),
        ("def init(:", "ScriptImportFailed", "score.py, line 1: SyntaxError", "SyntaxError"),
        ("import nope_nope", "ScriptImportFailed", "ModuleNotFoundError", "ModuleNotFoundError: No module named"),
        ("def run(d): pass", "MissingFunction", "does not define init()", ""),
        ("def init(): pass\ndef run(*a): pass", "BadSignature", "*args", ""),
        (
            "def init(): open('/no/such/file')\ndef run(d): pass",
            "InitFailed",
            "init() in score.py raised FileNotFoundError",
            "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'",
        ),
        ("import sys\ndef init(): sys.exit(0)\ndef run(d): pass", "InitFailed", "SystemExit", "SystemExit: 0"),
        ("import os\ndef init(): os._exit(0)\ndef run(d): pass", "WorkerDied", "exit code 0", ""),
        ("import os\ndef init(): os.abort()\ndef run(d): pass", "WorkerDied", "killed by SIGABRT", ""),
    ],
)
@pytest.mark.parametrize("preload", ["false", "true"])
def test_a_script_that_cannot_be_served_ends_the_process(  # noqa: PLR0917
    serve: Any, text: Any, reason: Any, message: Any, last: Any, preload: Any
) -> None:
    if preload == "true" and reason == "WorkerDied":
        pytest.skip("preloading runs the script in the supervisor: what kills it kills everything")
    arguments = ["--entry_script", "/no/such/script.py"] if text is None else []
    server = serve(text, "--worker_count", "2", *arguments, ready=False, WORKER_PRELOAD=preload)
    assert server.process.wait(10) not in (0, None)
    failure = json.loads(server.failure_file.read_text())
    assert failure["reason"] == reason
    assert message in failure["message"]
    error = server.err.read_text()
    assert "penstock_scorer/" not in failure["traceback"]
    if last:
        assert error.rstrip().splitlines()[-1].startswith(last)
        assert failure["traceback"].rstrip() == error.rstrip()[-len(failure["traceback"].rstrip()) :]
    assert error.count(failure["message"]) == 1
    assert not Path(server.uds).exists()


def test_a_port_in_use(serve: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = serve(SCRIPT, "--port", str(taken.getsockname()[1]), ready=False)
        assert server.process.wait(10) == 1
        assert "Address already in use" in server.err.read_text()
        assert json.loads(server.failure_file.read_text())["reason"] == "AddressInUse"


def test_a_socket_in_use_is_refused_and_a_dead_one_replaced(serve: Any) -> None:
    server = serve(SCRIPT)
    second = serve(SCRIPT, "--uds", server.uds, ready=False)
    assert second.process.wait(10) == 1
    assert server.score().status == 200
    server.process.kill()
    server.process.wait()
    assert Path(server.uds).exists()
    third = serve(SCRIPT, "--uds", server.uds, ready=False)
    third.uds = server.uds
    third.wait_ready()


def test_what_is_in_flight_at_sigterm_completes_and_says_close(serve: Any) -> None:
    server = serve(SCRIPT)
    connections = [server.connection() for _ in range(4)]
    idle = server.connection()
    idle.request("GET", "/")
    idle.getresponse().read()
    for connection in connections:
        connection.request("POST", "/score", '{"sleep": 0.3}')
    time.sleep(0.1)
    server.process.send_signal(signal.SIGTERM)
    for connection in connections:
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["same_thread"]
        assert response.headers["connection"] == "close"
        connection.close()
    assert server.process.wait(10) == 0
    assert idle.sock.recv(1) == b""
    idle.close()


def test_keep_alive_connections_under_load_see_no_broken_answer_at_sigterm(serve: Any) -> None:
    server = serve(SCRIPT, "--worker_count", "2")
    stop = threading.Event()
    problems, served = [], []

    def load() -> None:
        with contextlib.closing(server.connection()) as connection:
            ask(connection)

    def ask(connection: Any) -> None:
        while not stop.is_set():
            try:
                connection.request("POST", "/score", '{"big": 1000}')
                response = connection.getresponse()
            except (ConnectionError, FileNotFoundError):
                return  # closed between two requests: nothing of an answer had come
            try:
                body = response.read()
                if response.status != 200 or len(json.loads(body)["big"]) != 1000:
                    problems.append((response.status, body[:100]))
                served.append(1)
            except (http.client.HTTPException, OSError, ValueError) as error:
                problems.append(error)
                return
            if response.headers.get("connection") == "close":
                return

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(served) > 100)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not problems


def test_a_run_longer_than_the_grace_is_cut_off(serve: Any) -> None:
    server = serve(SCRIPT, PENSTOCK_DRAIN_SECONDS="1")
    connection = server.connection()
    connection.request("POST", "/score", '{"sleep": 60}')
    time.sleep(0.2)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5
    assert "did not finish within 1 s" in server.err.read_text()
    connection.close()


def test_a_scorer_that_is_still_in_init_ends_at_once(serve: Any) -> None:
    """Nobody waits for it: it has answered nobody yet."""
    server = serve("import time\n\n\ndef init():\n    print('in init', flush=True)\n    time.sleep(600)\n\n\n"
                   "def run(data):\n    return data\n", ready=False)  # fmt: skip
    while "in init" not in server.out.read_text():
        assert server.process.poll() is None
        time.sleep(0.02)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("how", ['{"_exit": 7}', '{"kill": 1}', '{"exit": 1}'])
def test_a_worker_that_dies_is_replaced_while_others_serve(serve: Any, how: Any) -> None:
    server = serve(SCRIPT, "--worker_count", "2")
    before = set(server.workers())
    try:
        answer = server.score(how)
        assert answer.status == 500
    except (http.client.RemoteDisconnected, ConnectionError):
        assert "exit" not in how.replace("_exit", "")
    assert server.score().status == 200
    assert eventually(lambda: len(server.workers()) == 2 and set(server.workers()) != before)
    assert eventually(lambda: "penstock_scorer_workers_ready 2" in server.get("/metrics").body.decode())
    assert "penstock_scorer_worker_restarts_total 1" in server.get("/metrics").body.decode()
    assert "penstock_scorer_requests_in_flight 0" in server.get("/metrics").body.decode()
    for _ in range(20):
        assert server.score().status == 200


def test_kill_9_of_the_supervisor_leaves_no_orphan(serve: Any) -> None:
    server = serve(SCRIPT, "--worker_count", "3")
    workers = server.workers()
    assert len(workers) == 3
    server.process.kill()
    server.process.wait()
    assert eventually(lambda: not any(alive(pid) for pid in workers))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_too_many_are_refused_and_none_is_lost(serve: Any) -> None:
    server = serve(SCRIPT, PENSTOCK_MAX_QUEUE_WAIT_MS="300", PENSTOCK_MAX_CONCURRENT="2")
    with ThreadPoolExecutor(10) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: server.score('{"sleep": 0.5}'), range(10)))
    codes = sorted(answer.status for answer in answers)
    assert codes == [200, 200] + [429] * 8
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
    assert time.monotonic() - began < 2
    assert 'errors_total{kind="overloaded"} 8' in server.get("/metrics").body.decode()
    assert server.score().status == 200


def test_a_run_that_takes_too_long_is_answered_and_the_worker_goes_on(serve: Any) -> None:
    server = serve(SCRIPT, SCORING_TIMEOUT_MS="300")
    answer = server.score('{"spin": 1}')
    assert (answer.status, answer.headers["x-ms-run-function-failed"]) == (500, "True")
    assert json.loads(answer.body) == {"message": "Scoring timeout after 300 ms"}
    pid = server.workers()
    assert server.score().status == 200
    assert server.workers() == pid


def test_a_stuck_worker_is_replaced(serve: Any) -> None:
    server = serve(SCRIPT, SCORING_TIMEOUT_MS="200", WORKER_TIMEOUT="1", PENSTOCK_DRAIN_SECONDS="1")
    before = server.workers()
    assert server.score('{"sleep": 600}').status == 500
    assert eventually(lambda: server.workers() and server.workers() != before)
    server.wait_ready()
    assert server.score().status == 200


def test_a_key_is_required_where_there_is_a_policy(serve: Any, tmp_path: Any) -> None:
    policy = tmp_path / "policy.json"
    server = serve(SCRIPT, PENSTOCK_AUTH_POLICY=str(policy))
    assert server.score().status == 401
    policy.write_text(dump(bytes(16), {"primary": "k"}))
    time.sleep(0.25)
    assert server.score(authorization="Bearer k").status == 200
    answer = server.score(authorization="Bearer x")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "message" in json.loads(answer.body)["error"]
    assert server.get("/").status == 200
    (tmp_path / "new").write_text(dump(bytes(16), {"primary": "k2"}))
    (tmp_path / "new").replace(policy)
    assert eventually(lambda: server.score(authorization="Bearer k").status == 401, 1)


def test_the_health_port_answers_health_only(serve: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(SCRIPT, "--health_port", str(port))
    for path, status in (("/", 200), ("/score", 404), ("/metrics", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()
    assert server.stop() == 0


def test_broken_and_slow_clients_harm_nobody(serve: Any) -> None:
    server = serve(SCRIPT)
    sockets = []
    for text in (
        b"GARBAGE\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \xff\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"",
    ):
        client = socket.socket(socket.AF_UNIX)
        client.connect(server.uds)
        client.sendall(text)
        sockets.append(client)
    assert server.score().status == 200
    for client in sockets:
        client.close()
    assert server.score().status == 200
    assert eventually(lambda: "requests_in_flight 0" in server.get("/metrics").body.decode())


def test_two_schemas_of_http(serve: Any) -> None:
    """Envoy may speak HTTP/2 to the instance: the preface is understood on the same socket."""
    server = serve(SCRIPT)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    client.connect(server.uds)
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    assert client.recv(9)[3] == 4  # a SETTINGS frame
    client.close()


def test_as_many_descriptors_as_the_system_allows(serve: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        server = serve("def init(): pass\ndef run(data):\n    return data")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    connections = [server.connection() for _ in range(400)]
    for connection in connections:
        connection.connect()
    for connection in connections:
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"Healthy"
    for connection in connections:
        connection.close()
    assert server.stop() == 0


def test_clients_that_are_no_more_are_found_out() -> None:
    with bind_tcp("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 600
