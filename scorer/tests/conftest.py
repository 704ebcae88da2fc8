"""A dataplane without sockets for the fast tests, a real server for the others."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer.contract import rawhttp, script
from penstock_scorer.contract.openapi import OpenApi, ServiceInfo
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.dataplane.scoring import Scoring
from penstock_scorer.http.front import Front
from penstock_scorer.http.v2 import V2
from penstock_scorer.inference.served import Served
from penstock_scorer.telemetry.metrics import Metrics


@dataclass
class FakeRequest:
    """A request that is its own transport."""

    method: str = "GET"
    path: str = "/score"
    query: str = ""
    body: bytes | None = b""
    sent: dict[str, str] = field(default_factory=dict)
    status: int = 0
    answer: bytes = b""
    answer_headers: dict[str, str] = field(default_factory=dict)
    answers: int = 0
    chunks: list[bytes] = field(default_factory=list)
    left: bool = False
    aborted: bool = False
    ended: bool = False
    cuts: int = 0
    gone: Callable[[], None] | None = None

    def header(self, name: str, default: Any = None) -> Any:
        return self.sent.get(name, default)

    def headers(self) -> list[tuple[str, str]]:
        return list(self.sent.items())

    def read(self, done: Callable[[bytes | None], None]) -> None:
        done(self.body)

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers += 1
        self.status, self.answer, self.answer_headers = status, body, dict(headers)

    reject = respond

    def stream(self, status: int, headers: list[tuple[str, str]]) -> FakeRequest:
        self.respond(status, headers, b"")
        return self

    def send(self, piece: bytes) -> bool:
        if self.left:
            return False
        self.answer += piece
        self.chunks.append(piece)
        return True

    async def send_async(self, piece: bytes) -> bool:
        return self.send(piece)

    def end(self) -> None:
        self.ended = True

    def abort(self, last: bytes = b"") -> None:
        if last:
            self.send(last)
        self.aborted = True

    def watch(self, gone: Callable[[], None]) -> None:
        self.gone = gone

    def unwatch(self) -> None:
        self.gone = None

    def hold(self, send: Callable[[], None]) -> bool:
        return False

    def cut(self) -> None:
        self.cuts += 1

    @property
    def json(self) -> Any:
        return json.loads(self.answer)


class App:
    """One loaded script behind its routes; a request runs in the calling thread."""

    def __init__(self, path: Path, *, limits: Limits | None = None, **front: Any) -> None:
        rawhttp.forget()
        self.script = script.load(path)
        loop = self.script.init()
        limits = limits or Limits(batch=self.script.run.batch)
        self.metrics = Metrics(1, limits.slots + 2)
        lanes = [self.metrics.lane(0, lane) for lane in range(limits.slots + 2)]
        self.left: list[str] = []
        self.scoring = Scoring(
            self.script.run, limits, lanes, self.left.append, infer=self.script.merged_infer, loop=loop
        )
        self.openapi = OpenApi(self.script.run.call, ServiceInfo(), path.parent)
        v2 = V2(Served(self.script), self.scoring.submit, lanes[0])
        self.front = Front(self.scoring, self.openapi, self.metrics, lanes[0], front.pop("guard", None), v2=v2, **front)

    def __call__(self, method: str = "GET", target: str = "/score", body: bytes = b"", **headers: str) -> FakeRequest:
        path, _, query = target.partition("?")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = FakeRequest(method, path, query, body, sent)
        self.front(request)
        self.work()
        return request

    def work(self) -> None:
        """Run what is queued."""
        self.scoring.executor._queue.put(None)
        self.scoring.executor.work()

    def close(self) -> None:
        self.scoring.executor.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, name: str = "score.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def app(write: Callable[[str], Path]) -> Iterator[Callable[..., App]]:
    with contextlib.ExitStack() as made:
        yield lambda text, **options: made.enter_context(contextlib.closing(App(write(text), **options)))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = 20) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes


class Server:
    """The real command on a Unix socket."""

    def __init__(self, folder: Path, arguments: list[str], environ: dict[str, str], python: str) -> None:
        self.uds = str(folder / "s")
        self.failure_file = folder / "failure.json"
        self.out, self.err = folder / "out", folder / "err"
        environ = {**os.environ, "PENSTOCK_FAILURE_FILE": str(self.failure_file), **environ}
        listen = [] if "--port" in arguments else ["--uds", self.uds]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [python, "-m", "penstock_scorer", *listen, *arguments], stdout=out, stderr=err, env=environ, cwd=folder
            )

    def wait_ready(self, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"exit {self.process.returncode}: {self.err.read_text()}")
            try:
                if self.get("/").status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"not ready: {self.err.read_text()}")

    def connection(self) -> UnixConnection:
        return UnixConnection(self.uds)

    def request(self, method: str, target: str, body: bytes | str | None = None, **headers: str) -> Reply:
        connection = self.connection()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Reply:
        return self.request("GET", target, **headers)

    def score(self, body: bytes | str = b"{}", **headers: str) -> Reply:
        return self.request("POST", "/score", body, content_type="application/json", **headers)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@pytest.fixture
def serve(write: Callable[[str], Path]) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []
    folders: list[str] = []

    def serve(
        text: str | None, *arguments: str, ready: bool = True, python: str = sys.executable, **environ: str
    ) -> Server:
        folder = tempfile.mkdtemp(prefix="sc-", dir="/tmp")
        folders.append(folder)
        script_arguments = [] if text is None else ["--entry_script", str(write(text))]
        server = Server(Path(folder), [*script_arguments, *arguments], environ, python)
        servers.append(server)
        if ready:
            server.wait_ready()
        return server

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["uv", "build", "-q", "--wheel", "--out-dir", str(out), str(Path(__file__).parent.parent)], check=True
    )
    return next(out.glob("penstock_scorer-*.whl"))
