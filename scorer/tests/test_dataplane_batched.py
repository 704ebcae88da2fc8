"""Batched scripts behind /score: the right answer to the right caller, whatever happens beside it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.batching.policy import BatchPolicy
from penstock_scorer.contract.inputs import InputMode, Parameter
from penstock_scorer.contract.signature import RunSignature
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import Limits, ScoringTimeoutError
from penstock_scorer.dataplane.scoring import Scoring
from penstock_scorer.telemetry.metrics import ErrorKind, Histogram, Metrics

from scorer.tests.conftest import FakeRequest

SCRIPT = """
import json
from penstock_scorer import batched
def init():
    global calls
    calls = []
@batched(max_size=8, max_delay_ms=0)
def run(inputs):
    calls.append(len(inputs))
    print(calls)
    return [json.loads(text) * 2 for text in inputs]
"""


class Bench:
    """A dataplane without a script file, run by hand."""

    def __init__(self, run: Any, *, size: int = 8, infer: Any = None, **limits: Any) -> None:
        signature = RunSignature(run, InputMode.TEXT, (Parameter("data"),), False, batch=BatchPolicy(size, 0))
        limits = {"slots": size, "batch": BatchPolicy(size, 0), "max_queue": 200, **limits}
        self.metrics = Metrics(1, limits["slots"] + 2)
        lanes = [self.metrics.lane(0, lane) for lane in range(limits["slots"] + 2)]
        self.left: list[str] = []
        self.now = 0.0
        self.scoring = Scoring(signature, Limits(**limits), lanes, self.left.append, lambda: self.now, infer=infer)

    def job(self, text: str, deadline: float | None = None) -> tuple[Job, FakeRequest]:
        request = FakeRequest("POST", body=text.encode())
        job = Job(request, "POST", "/score", "", "", request.headers, [], self.now, deadline)
        job.body = text.encode()
        return job, request

    def submit(self, text: str, **options: Any) -> tuple[Job, FakeRequest]:
        job, request = self.job(text, **options)
        self.scoring.submit(job)
        return job, request

    def work(self) -> None:
        self.scoring.executor._queue.put(None)
        self.scoring.executor.work()


FATES = st.lists(
    st.sampled_from(["good", "raises", "error", "unsendable", "not utf-8", "late", "left early", "left inside"]),
    min_size=1,
    max_size=40,
)


@given(FATES, st.integers(1, 9))
def test_no_answer_goes_to_the_wrong_caller(  # noqa: C901 - every fate in one batch is the point
    fates: Any, size: Any
) -> None:
    answers = {}

    def run(data: Any) -> Any:
        numbers = [int(text) for text in data]
        for number in numbers:
            if fates[number] == "left inside":
                requests[number].left = True
        if any(fates[number] == "raises" for number in numbers):
            raise ValueError("boom")
        results = {"error": ValueError("returned"), "unsendable": {1, 2}}
        return [results.get(fates[number], {"caller": number}) for number in numbers]

    bench = Bench(run, size=size)
    requests, jobs = [], []
    for number, fate in enumerate(fates):
        job, request = bench.job(str(number), deadline=1.0 if fate == "late" else None)
        if fate == "not utf-8":
            job.body = b"\xff"
        requests.append(request)
        jobs.append(job)
    for job in jobs:
        bench.scoring.submit(job)
    bench.now = 2.0
    for job, fate in zip(jobs, fates, strict=True):
        if fate == "left early":
            bench.scoring.executor.abandon(job)
    bench.work()
    statuses = {"raises": 500, "error": 500, "unsendable": 500, "not utf-8": 400, "late": 503}
    for number, (fate, request) in enumerate(zip(fates, requests, strict=True)):
        answers[number] = request
        if fate == "left early":
            assert request.answers == 0
            continue
        assert request.answers == 1
        assert request.status == statuses.get(fate, 200)
        if request.status == 200:
            assert request.json == {"caller": number}
    totals = bench.metrics.totals()
    assert bench.scoring.executor.in_flight == 0
    assert totals.in_flight == 0
    assert totals.kinds[ErrorKind.DISCONNECTED] == fates.count("left early")
    assert totals.kinds[ErrorKind.EXPIRED] == fates.count("late")
    assert totals.kinds[ErrorKind.SCRIPT] == fates.count("raises") + fates.count("error")


def test_what_waits_is_merged_and_measured(app: Any) -> None:
    bench = Bench(lambda data: [json.loads(text) * 2 for text in data])
    requests = [bench.submit(str(number))[1] for number in range(20)]
    bench.work()
    assert [request.json for request in requests] == [number * 2 for number in range(20)]
    counts, total = bench.metrics.totals().histograms[Histogram.BATCH]
    assert (sum(counts), total) == (3, 20)


def test_a_wrong_length_fails_every_caller_of_that_call(caplog: Any) -> None:
    bench = Bench(lambda data: data[:-1])
    requests = [bench.submit("1")[1] for _ in range(3)]
    bench.work()
    assert [request.status for request in requests] == [500, 500, 500]


def test_sys_exit_in_a_batch_answers_everybody() -> None:
    def run(data: Any) -> Any:
        raise SystemExit(3)

    bench = Bench(run)
    requests = [bench.submit("1")[1] for _ in range(3)]
    bench.work()
    assert [request.status for request in requests] == [500, 500, 500]
    assert bench.left == ["run() ended its process with sys.exit(3)"]


def test_a_script_from_a_file(app: Any) -> None:
    page = app(SCRIPT)
    assert page("POST", body=b"21").json == 42
    assert page("POST", body=b"\xff").status == 400
    assert page("GET", "/score?a=1").status == 500


def test_headers_come_one_for_each(app: Any) -> None:
    page = app(
        "from penstock_scorer import batched\n"
        "def init(): pass\n"
        "@batched()\n"
        "def run(inputs, request_headers): return [[i, h['X-A']] for i, h in zip(inputs, request_headers)]"
    )
    assert page("POST", body=b"21", x_a="b").json == ["21", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@batched()\nasync def run(inputs): pass", "cannot be async"),
        ("from penstock_scorer.contract.rawhttp import rawhttp\n@batched()\n@rawhttp\ndef run(r): pass", "@rawhttp"),
    ],
)
def test_what_cannot_be_batched_is_refused(app: Any, text: Any, message: Any) -> None:
    with pytest.raises(Exception, match=message):
        app(f"from penstock_scorer import batched\ndef init(): pass\n{text}")


def tensors(bench: Bench, inputs: Any) -> FakeRequest:
    job, request = bench.job("")
    job.inputs = inputs
    job.encode = lambda outputs: (
        [("content-type", "x/y")],
        json.dumps({k: v.tolist() for k, v in outputs.items()}).encode(),
    )
    bench.scoring.submit(job)
    return request


def test_infer_shares_calls_among_those_that_fit() -> None:
    calls = []

    def infer(inputs: Any) -> Any:
        calls.append(inputs["x"].shape)
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"] * 2}

    bench = Bench(lambda data: data, infer=infer)
    good = [tensors(bench, {"x": np.full((n, 2), n, "f4")}) for n in (1, 2, 3)]
    bad = tensors(bench, {"x": np.full((1, 2), -1, "f4")})
    other = tensors(bench, {"x": np.full((1, 3), 7, "f4")})
    score = bench.submit("1")[1]
    bench.work()
    assert calls[0] == (7, 2)
    for n, request in zip((1, 2, 3), good, strict=True):
        assert request.json == {"y": [[n * 2.0] * 2] * n}
        assert request.answer_headers["content-type"] == "x/y"
        assert request.answer_headers["x-ms-run-function-failed"] == "False"
    assert (bad.status, other.json, score.json) == (500, {"y": [[14.0] * 3]}, "1")


def test_infer_whose_outputs_cannot_be_written_is_an_internal_error() -> None:
    bench = Bench(lambda data: data, infer=lambda _: {"y": 3})
    request = tensors(bench, {"x": np.zeros((1, 2))})
    bench.work()
    assert request.status == 500
    assert bench.metrics.totals().kinds[ErrorKind.SERIALIZATION] == 1


def test_an_answer_that_is_held_back_is_not_cut_with_the_rest_of_its_batch():
    """Another thread may be sending it just then."""

    def infer(inputs: Any) -> Any:
        if inputs["x"].dtype == np.int64:
            raise ScoringTimeoutError
        return inputs

    held = []
    bench = Bench(lambda data: data, infer=infer)
    (quick, kept), (late, lost) = bench.job("quick"), bench.job("late")
    kept.hold = lambda send: not held.append(send)
    for job, kind in ((quick, np.float64), (late, np.int64)):
        job.inputs, job.encode = {"x": np.zeros((1, 1), kind)}, lambda _: ([], b"kept")
        bench.scoring.submit(job)
    bench.work()
    for send in held:
        send()
    assert (kept.status, kept.answer, kept.cuts) == (200, b"kept", 0)
    assert (lost.status, lost.cuts) == (500, 1)
