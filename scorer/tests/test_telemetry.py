"""Logs and metrics as an operator's tools read them."""

import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.telemetry import exposition, trace
from penstock_scorer.telemetry.access import AccessLog
from penstock_scorer.telemetry.metrics import ErrorKind, Histogram, Metrics

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (f"00-{TRACE}-{PARENT}-01", True), (f"00-{TRACE}-{PARENT}-00", True), (f"cc-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-holds", True), (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False), (f"00-{'0' * 32}-{PARENT}-01", False), (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False), (f"00-{TRACE}-{PARENT}", False), (f"00-{TRACE}-{PARENT}-1", False),
        (f" 00-{TRACE}-{PARENT}-01", False), (f"00-{TRACE}-{PARENT}-01\n", False), ("", False), (None, False),
        (f"cc-{TRACE}-{PARENT}-01.x", False),
    ],
)  # fmt: skip
def test_traceparent(header: Any, valid: bool) -> None:
    found = trace.parse(header)
    assert (found is not None) is valid
    if found:
        assert (found.trace_id, found.parent_id) == (TRACE, PARENT)


@given(st.text(max_size=80))
def test_any_traceparent(header: str) -> None:
    trace.parse(header)


LOGGING = """
import logging
def init(): pass
def run(data, request_headers):
    logging.getLogger("mine").warning("at work")
    if data == "fail": 1 / 0
    return [request_headers.get("Traceparent"), request_headers.get("Tracestate")]
"""


@pytest.mark.integration
@pytest.mark.parametrize("text", [LOGGING, LOGGING.replace("def run", "async def run")], ids=["sync", "async"])
def test_json_logs_name_the_request_once_and_in_order(serve: Any, text: str) -> None:
    server = serve(text, PENSTOCK_LOG_FORMAT="json", PENSTOCK_ACCESS_LOG="true")
    sent = {"x_request_id": "r1", "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1"}
    assert json.loads(server.score("ok", **sent).body) == [f"00-{TRACE}-{PARENT}-01", "a=1"]
    assert server.score("fail", x_request_id="r2", traceparent="nonsense").status == 500
    assert server.request("GET", "/score?secret=1", x_request_id="r3\x1b[31m"[:2]).status == 200
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.err.read_text().splitlines()]
    mine = [line for line in lines if line["logger"] == "mine"]
    assert [line["request_id"] for line in mine] == ["r1", "r2", "r3"]
    assert (mine[0]["trace_id"], mine[0]["parent_id"], mine[0]["level"]) == (TRACE, PARENT, "WARNING")
    assert "trace_id" not in mine[1]
    failed = next(line for line in lines if "run() failed" in line["message"])
    assert failed["request_id"] == "r2"
    assert "ZeroDivisionError" in failed["message"]
    answers = [json.loads(line) for line in server.out.read_text().splitlines() if line.startswith("{")]
    answers = [line for line in answers if line["path"] == "/score"]
    assert [(line["request_id"], line["status"]) for line in answers] == [("r1", 200), ("r2", 500), ("r3", 200)]
    assert answers[0]["trace_id"] == TRACE
    assert "secret" not in server.out.read_text()


@pytest.mark.integration
def test_text_logs_leave_the_root_logger_to_the_script(serve: Any) -> None:
    server = serve(LOGGING, PENSTOCK_ACCESS_LOG="true")
    server.score("ok", x_request_id="r1")
    assert server.stop() == 0
    assert server.err.read_text() == "at work\n"
    assert re.search(r"^\S+ POST /score 200 \d+ [\d.]+ms r1$", server.out.read_text(), re.MULTILINE)


@pytest.mark.integration
def test_a_log_format_nobody_knows(serve: Any) -> None:
    server = serve(LOGGING, ready=False, PENSTOCK_LOG_FORMAT="xml")
    assert server.process.wait(10) == 1
    assert "PENSTOCK_LOG_FORMAT is 'xml', not text or json." in server.err.read_text()


def test_access_lines_cannot_be_forged(app: Any) -> None:
    lines: list[str] = []
    served = app("def init(): pass\ndef run(data): return 1", access=AccessLog(lines.append, as_json=False))
    served("GET", "/score\r\n2026 GET / 200\x1b[2J")
    served("POST", "/score", x_request_id="r")
    assert len(lines) == 2
    assert all(line.count("\n") == 1 and line.isprintable() is False and "\x1b" not in line for line in lines)


def test_a_full_disk_costs_no_answer(app: Any) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    served = app("def init(): pass\ndef run(data): return 1", access=AccessLog(full, as_json=True))
    assert served("POST").status == 200


def test_metrics_are_what_prometheus_expects() -> None:
    """The names' rules: https://prometheus.io/docs/practices/naming/."""
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = Metrics(2, 3)
    lane = metrics.lane(0, 0)
    for status in (200, 413, 418):
        lane.answered(status, 0.003)
    for kind in ErrorKind:
        lane.failed(kind)
    lane.observe(Histogram.RUN, 100.0)
    families = list(parser.text_string_to_metric_families(exposition.render(metrics).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    for family in families:
        assert re.fullmatch(r"(penstock_scorer|process)_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge", "histogram"}
        if family.type != "counter":
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_batch_size"))
            bounds = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
            counts = [s.value for s in family.samples if s.name.endswith("_bucket")]
            assert bounds == sorted(bounds)
            assert bounds[-1] == float("inf")
            assert counts == sorted(counts)
    by_code = next(family for family in families if family.name == "penstock_scorer_requests")
    assert {s.labels["code"]: s.value for s in by_code.samples if s.value} == {"200": 1, "413": 1, "other": 1}


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Any:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
