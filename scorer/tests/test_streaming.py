"""Results that come piece by piece, and scripts that are awaited."""

import json
import threading
from typing import Any

import pytest
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.telemetry.metrics import ErrorKind

from scorer.tests.conftest import FakeRequest

SYNC = """
import json
closed = []
def init(): pass
def run(data):
    kind = json.loads(data)
    def pieces():
        try:
            for piece in kind["pieces"]:
                if piece == "boom": raise ValueError("boom")
                if piece == "exit": raise SystemExit(1)
                if piece == "set": piece = {1}
                if piece == "bytes": piece = b"raw"
                yield piece
        finally:
            closed.append(True)
            print("closed")
    return pieces()
"""
ASYNC = SYNC.replace("def run", "async def run").replace("def pieces", "async def pieces")
ASYNC_GENERATOR = """
import json
def init(): pass
async def run(data):
    for piece in json.loads(data)["pieces"]:
        yield piece
"""


@pytest.fixture(
    params=[SYNC, ASYNC, SYNC.replace("    def pieces", "    async def pieces")], ids=["sync", "async", "mixed"]
)
def page(request: Any, app: Any) -> Any:
    return app(request.param)


def ask(page: Any, *pieces: Any, **headers: Any) -> FakeRequest:
    return page("POST", body=json.dumps({"pieces": pieces}).encode(), **headers)


@pytest.mark.parametrize(
    ("pieces", "accept", "content_type", "chunks"),
    [
        (["a", "b"], "", "text/plain; charset=utf-8", [b"a", b"b"]),
        ([{"n": 1}, "a", [2]], "", "application/x-ndjson", [b'{"n": 1}\n', b'"a"\n', b"[2]\n"]),
        (["bytes", "a"], "", "application/octet-stream", [b"raw", b"a"]),
        (
            ["a\nb", {"n": 1}],
            "text/event-stream",
            "text/event-stream",
            [b"data: a\ndata: b\n\n", b'data: {"n": 1}\n\n'],
        ),
        (["a\rb\r\nc"], "x, text/event-stream;q=1", "text/event-stream", [b"data: a\ndata: b\ndata: c\n\n"]),
    ],
)
def test_pieces_are_sent_as_they_come(page: Any, pieces: Any, accept: Any, content_type: Any, chunks: Any) -> None:
    answer = ask(page, *pieces, accept=accept)
    assert (answer.status, answer.answer_headers["content-type"]) == (200, content_type)
    assert answer.chunks == chunks
    assert answer.answer_headers["x-ms-run-function-failed"] == "False"
    assert not answer.aborted
    totals = page.metrics.totals()
    assert (totals.codes["200"], totals.in_flight, page.scoring.executor.in_flight) == (1, 0, 0)


def test_a_stream_of_nothing(page: Any) -> None:
    answer = ask(page)
    assert (answer.status, answer.chunks) == (200, [])


def test_a_failure_before_the_first_piece_is_an_ordinary_error(page: Any) -> None:
    assert (ask(page, "boom").status, ask(page, "set").status) == (500, 500)
    kinds = page.metrics.totals().kinds
    assert (kinds[ErrorKind.SCRIPT], kinds[ErrorKind.SERIALIZATION]) == (1, 1)


@pytest.mark.parametrize(
    ("accept", "first", "last"),
    [
        ("", "a", b"a"),
        ("", {"n": 1}, b'{"message": "An unexpected error'),
        ("text/event-stream", "a", b'event: error\ndata: {"message": "An unexpected error'),
    ],
)
def test_a_failure_later_ends_the_stream_abnormally(page: Any, accept: Any, first: Any, last: Any) -> None:
    answer = ask(page, first, "boom", "never", accept=accept)
    assert answer.status == 200
    assert answer.chunks[-1].startswith(last)
    assert answer.aborted
    assert page.metrics.totals().kinds[ErrorKind.SCRIPT] == 1
    assert ask(page, "a").chunks == [b"a"]


def test_a_client_that_leaves_closes_the_generator(app: Any, capsys: Any) -> None:
    for text in (SYNC, ASYNC):
        page = app(text)
        request = FakeRequest("POST", body=json.dumps({"pieces": ["a"] * 1000}).encode(), left=True)
        page.front(request)
        page.work()
        assert page.metrics.totals().kinds[ErrorKind.DISCONNECTED] == 1
        assert capsys.readouterr().out == "closed\n"


def test_sys_exit_in_a_stream_replaces_the_worker(app: Any) -> None:
    page = app(SYNC)
    assert ask(page, "a", "exit").aborted
    assert page.left == ["run() ended its process with sys.exit(1)"]


def test_an_async_generator_function(app: Any) -> None:
    assert ask(app(ASYNC_GENERATOR), "a", "b").chunks == [b"a", b"b"]


def test_the_script_chooses_the_type(app: Any) -> None:
    page = app(
        "from penstock_scorer import Stream\ndef init(): pass\n"
        "def run(data): return Stream(iter(['a', b'id: 1\\ndata: b\\n\\n', 1])) if data == 'sse' else "
        "Stream((c for c in 'xy'), 'text/csv')"
    )
    events = page("POST", body=b"sse")
    assert events.answer_headers["content-type"] == "text/event-stream"
    assert events.answer == b"data: a\n\nid: 1\ndata: b\n\ndata: 1\n\n"
    csv = page("POST", body=b"csv", accept="text/event-stream")
    assert (csv.answer_headers["content-type"], csv.answer) == ("text/csv", b"xy")


def test_a_raw_stream_that_fails_is_cut(app: Any) -> None:
    pytest.importorskip("werkzeug")
    page = app(
        "from azureml.contrib.services.aml_response import AMLResponse\n"
        "from azureml.contrib.services.aml_request import rawhttp\n"
        "def init(): pass\n"
        "def pieces():\n    yield 'a'\n    raise ValueError\n"
        "@rawhttp\ndef run(request): return AMLResponse(pieces(), 200)"
    )
    answer = page("POST")
    assert (answer.answer, answer.aborted) == (b"a", True)
    assert page.metrics.totals().kinds[ErrorKind.SCRIPT] == 1


AWAITED = """
import asyncio, json
async def init():
    global loop, running, most
    loop, running, most = asyncio.get_running_loop(), 0, 0
async def run(data):
    global running, most
    assert asyncio.get_running_loop() is loop
    running += 1
    most = max(most, running)
    try:
        for _ in range(5):
            await asyncio.sleep(0)
        if json.loads(data) == "boom": raise ValueError
        return {"data": json.loads(data), "most": most}
    finally:
        running -= 1
"""


def test_coroutines_run_beside_each_other_up_to_the_slots(app: Any) -> None:
    page = app(AWAITED, limits=Limits(slots=3))
    requests = [FakeRequest("POST", body=json.dumps(body).encode()) for body in [1, 2, "boom", 4, 5, 6, 7]]
    for request in requests:
        page.front(request)
    page.work()
    assert [request.status for request in requests] == [200, 200, 500, 200, 200, 200, 200]
    assert [request.json["data"] for request in requests if request.status == 200] == [1, 2, 4, 5, 6, 7]
    assert requests[-1].json["most"] == 3
    assert page.scoring.executor.in_flight == 0


def test_a_plain_run_may_return_an_awaitable(app: Any) -> None:
    page = app("async def later(x): return x\ndef init(): pass\ndef run(data): return later(data)")
    assert page("POST", body=b"7").json == "7"


def test_a_coroutine_that_takes_too_long_is_cancelled_and_answered_once(app: Any) -> None:
    page = app(
        "import asyncio\ndef init(): pass\nasync def run(data):\n    await asyncio.sleep(0 if data else 1000)",
        limits=Limits(slots=2, timeout=0.05),
    )
    slow, quick = FakeRequest("POST"), FakeRequest("POST", body=b"1")
    page.scoring.executor.start()
    page.front(slow)
    page.front(quick)
    done = threading.Timer(1, page.scoring.executor.stop)
    done.start()
    page.scoring.executor.work()
    done.join()
    assert (slow.status, slow.answers, slow.json["message"]) == (500, 1, "Scoring timeout after 50 ms")
    assert quick.status == 200
    assert page.metrics.totals().kinds[ErrorKind.TIMEOUT] == 1
