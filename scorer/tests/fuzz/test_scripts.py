"""Scripts that misbehave: whatever they do, callers get answers and the scorer goes on."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.integration

SCRIPT = """
import json, os, signal, subprocess, sys, threading, time
def init(): pass
def fork():
    pid = os.fork()
    if pid == 0:
        return "child"  # as careless scripts do: the child comes back into the server's frames
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def fork_exit():
    pid = os.fork()
    if pid == 0: os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def threads():
    found = []
    working = [threading.Thread(target=found.append, args=(n,)) for n in range(50)]
    for thread in working: thread.start()
    for thread in working: thread.join()
    threading.Thread(target=lambda: time.sleep(600)).start()  # not a daemon
    threading.Thread(target=lambda: 1 / 0).start()
    return len(found)
def prints():
    for _ in range(4): print("x" * 2**20); print("y" * 2**20, file=sys.stderr)
    return "printed"
def broken_streams():
    sys.stdout.close(); sys.stderr.close()
    return "closed"
def surrogates():
    print("\\ud800", flush=True)
    return "\\ud800"
def signals():
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.alarm(0)
    return "deaf"
def recursion():
    return recursion()
def chdir():
    os.chdir("/"); os.umask(0o777)
    return os.getcwd()
def cyclic():
    x = {}; x["x"] = x
    return x
def huge():
    return "x" * 30_000_000
def excepthook():
    sys.excepthook = None; sys.setrecursionlimit(10**6)
    return 1
def exit_code(): sys.exit("a message")
def interrupt(): raise KeyboardInterrupt
def generator_exit(): raise GeneratorExit
def own():
    class Own(BaseException): pass
    raise Own("x")
def bad_str():
    class Bad(Exception):
        def __str__(self): raise ValueError("no text")
    raise Bad
def lying_class():
    class Lies:
        __class__ = property(lambda self: 1 / 0)
    return Lies()
def subclass():
    class Evil(dict):
        def items(self): raise SystemError("items")
    return Evil(a=1)
def _exit(): os._exit(0)
def kill(): os.kill(os.getpid(), signal.SIGKILL)
def segfault():
    import ctypes
    ctypes.string_at(0)
def run(data): return globals()[json.loads(data)]()
"""


@pytest.mark.parametrize(
    ("what", "status", "result"),
    [
        ("fork_exit", 200, 5), ("threads", 200, 50), ("prints", 200, "printed"), ("surrogates", 200, "\ud800"),
        ("signals", 200, "deaf"), ("recursion", 500, None), ("chdir", 200, "/"), ("cyclic", 500, None),
        ("huge", 200, "x" * 30_000_000), ("excepthook", 200, 1), ("exit_code", 500, None), ("interrupt", 500, None),
        ("generator_exit", 500, None), ("own", 500, None), ("bad_str", 500, None), ("lying_class", 500, None),
        ("subclass", 500, None), ("broken_streams", 200, "closed"), ("fork", 200, 0),
    ],
)  # fmt: skip
def test_every_caller_gets_an_answer(serve: Any, what: str, status: int, result: Any) -> None:
    server = serve(SCRIPT, PENSTOCK_DRAIN_SECONDS="3")
    answer = server.score(json.dumps(what))
    assert answer.status == status
    if result is not None:
        assert json.loads(answer.body) == result
    if status == 500:
        assert "message" in json.loads(answer.body)
    assert eventually_scores(server)
    assert server.stop() == 0


@pytest.mark.parametrize("what", ["_exit", "kill", "segfault"])
def test_a_worker_that_is_killed_costs_its_own_callers_alone(serve: Any, what: str) -> None:
    server = serve(SCRIPT, "--worker_count", "2", PENSTOCK_DRAIN_SECONDS="3")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        server.score(json.dumps(what))
    assert eventually_scores(server)
    assert server.stop() == 0


def test_many_at_once(serve: Any) -> None:
    server = serve(SCRIPT, "--worker_count", "2", PENSTOCK_DRAIN_SECONDS="3")

    def ask(number: int) -> int:
        try:
            return int(server.score(json.dumps(("prints", "own", "cyclic", "fork_exit", "_exit")[number % 5])).status)
        except (http.client.RemoteDisconnected, ConnectionError):
            return 0

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(60)))
    assert set(answers) <= {0, 200, 500}
    assert eventually_scores(server)
    assert server.stop() == 0


def eventually_scores(server: Any) -> bool:
    """A worker that leaves is replaced; until then a connection may be cut."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            if json.loads(server.score('"fork_exit"').body) == 5:
                return True
        except (http.client.HTTPException, OSError, ValueError):
            time.sleep(0.05)
    return False
