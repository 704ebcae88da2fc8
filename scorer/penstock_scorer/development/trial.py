"""``penstock test-script``: ``init`` and ``run`` in this process, with timings, and no server.

The request takes the same way as behind a server (the dataplane with another exchange), so what is printed here
is what a client would get, headers and all.
"""

# `test_script` is no test of pytest's:
# ruff: noqa: PT028
from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock_scorer.contract import rawhttp
from penstock_scorer.contract.script import Script, load
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.dataplane.scoring import Scoring
from penstock_scorer.errors import ScorerError
from penstock_scorer.supervision.failure import Failure
from penstock_scorer.telemetry.metrics import Metrics

_SHOWN = 4000
"""Characters of an answer's body that the report shows."""
_EXTRA_LANES = 2


@dataclass(frozen=True)
class Answer:
    """What one run answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float
    """From handing the request over to having the whole answer."""
    log: str = ""
    """What the scorer would have logged: the script's traceback, where it failed."""

    @property
    def ok(self) -> bool:
        """Whether a client would have called it a success."""
        return self.status < 400 and not self.log  # noqa: PLR2004


@dataclass(frozen=True)
class Report:
    """What came of trying a script."""

    script: Path
    import_seconds: float = 0.0
    init_seconds: float = 0.0
    answers: tuple[Answer, ...] = ()
    failure: Failure | None = None
    """Why it could not even be loaded."""
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether it loaded and every run succeeded."""
        return self.failure is None and all(answer.ok for answer in self.answers)

    def text(self) -> str:
        """For people."""
        return "\n".join(_lines(self)) + "\n"


def test_script(
    script: Path,
    *,
    model_dir: Path | None = None,
    request: bytes = b"{}",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    repeat: int = 1,
) -> Report:
    """Load ``script``, call its ``init``, and ``run`` it on ``request``.

    Never raises for anything the script does; its own ``print`` goes where it always goes.

    Args:
        script: The entry script.
        model_dir: What the script sees as ``AZUREML_MODEL_DIR`` meanwhile.
        request: The body.
        method: GET or POST.
        headers: The request's; ``content-type`` is ``application/json`` unless given.
        repeat: How often to run it; the first run is often slower than the others.
    """
    began = time.perf_counter()
    rawhttp.forget()
    with _environment(model_dir):
        try:
            loaded = load(script.resolve())
            imported = time.perf_counter()
            loop = loaded.init()
        except ScorerError as error:
            return Report(script, failure=Failure.of(error))
        ready = time.perf_counter()
        limits = Limits(slots=1, batch=loaded.run.batch)
        metrics = Metrics(1, limits.slots + _EXTRA_LANES)
        lanes = [metrics.lane(0, index) for index in range(limits.slots + _EXTRA_LANES)]
        scoring = Scoring(loaded.run, limits, lanes, lambda _why: None, infer=loaded.merged_infer, loop=loop)
        sent = [(name.lower(), value) for name, value in (headers or {}).items()]
        if "content-type" not in dict(sent):
            sent.append(("content-type", "application/json"))
        with closing(scoring.executor):
            answers = tuple(_ask(scoring, method, request, sent) for _ in range(repeat))
    return Report(script, imported - began, ready - imported, answers, None, _notes(loaded))


# pytest would take it for a test where it is imported.
test_script.__test__ = False  # type: ignore[attr-defined]


class _Exchange:
    """Keeps the answer instead of sending it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def stream(self, status: int, headers: Headers) -> _Exchange:
        self.respond(status, headers, b"")
        return self

    def send(self, piece: bytes) -> bool:
        self.body += piece
        return True

    async def send_async(self, piece: bytes) -> bool:
        return self.send(piece)

    def end(self) -> None:
        """It is all there."""

    def abort(self, last: bytes = b"") -> None:
        """There is no connection to cut; the log says what happened."""
        self.body += last

    def watch(self, gone: Callable[[], None]) -> None:
        """Nobody leaves."""

    def unwatch(self) -> None:
        """Nobody leaves."""

    def hold(self, _send: Callable[[], None]) -> bool:
        """There are no others."""
        return False

    def cut(self) -> None:
        """Nobody waits."""


def _ask(scoring: Scoring, method: str, body: bytes, headers: Headers) -> Answer:
    exchange = _Exchange()
    content_type = dict(headers)["content-type"]
    began = time.perf_counter()
    job = Job(exchange, method, "/score", "", content_type, lambda: headers, [], began)
    job.body = body
    with _captured() as log:
        scoring.submit(job)
        scoring.executor.stop()
        scoring.executor.work()
    return Answer(exchange.status, tuple(exchange.headers), exchange.body, time.perf_counter() - began, "\n".join(log))


@contextmanager
def _captured() -> Iterator[list[str]]:
    """What is logged as an error meanwhile."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage().replace(", request -", ""))

    logger, handler = logging.getLogger("penstock_scorer"), Handler(logging.ERROR)
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    try:
        yield found
    finally:
        logger.handlers, logger.propagate = handlers, propagate


@contextmanager
def _environment(model_dir: Path | None) -> Iterator[None]:
    before = os.environ.get("AZUREML_MODEL_DIR")
    if model_dir is not None:
        os.environ["AZUREML_MODEL_DIR"] = str(model_dir.resolve())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("AZUREML_MODEL_DIR", None)
        else:
            os.environ["AZUREML_MODEL_DIR"] = before


def _notes(script: Script) -> tuple[str, ...]:
    found = [f"input: {script.run.mode.value}"]
    if script.run.awaited:
        found.append("run() is awaited")
    if script.run.batch is not None:
        found.append(f"run() is batched, up to {script.run.batch.max_size}")
    if script.infer is not None:
        found.append("infer() is defined")
    return (", ".join(found), *script.run.notes)


def _lines(report: Report) -> Iterator[str]:
    if report.failure is not None:
        yield f"FAILED  {report.script}: {report.failure.message}"
        if report.failure.hint:
            yield f"        {report.failure.hint}"
        if report.failure.traceback:
            yield ""
            yield report.failure.traceback
        return
    yield f"{'OK' if report.ok else 'FAILED':7} {report.script}"
    for note in report.notes:
        yield f"  {note}"
    yield f"  import {_ms(report.import_seconds)}"
    yield f"  init() {_ms(report.init_seconds)}"
    for number, answer in enumerate(report.answers, 1):
        took = dict(answer.headers).get("x-ms-run-fn-exec-ms")
        inside = f", {float(took):.2f} ms of it in run()" if took else ""
        yield f"  run {number}  {_ms(answer.seconds)}{inside}: status {answer.status}, {len(answer.body)} bytes"
    if report.answers:
        last = report.answers[-1]
        yield ""
        if last.log:
            yield last.log
            yield ""
        for name, value in last.headers:
            yield f"{name}: {value}"
        yield _readable(last.body)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _readable(body: bytes) -> str:
    text = body.decode("utf-8", "backslashreplace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(body), indent=2)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n... ({len(text)} characters)"
