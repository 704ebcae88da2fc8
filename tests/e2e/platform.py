"""A whole platform for a test: its own home, its own ports, driven as a user drives it, through the command line."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from penstock import Client
from penstock.retry import Retry
from penstock.settings import Settings
from tests.support.ports import free_port

PENSTOCK = Path(sys.executable).with_name("penstock")
READY_SECONDS = 30.0


@dataclass
class Answer:
    """What a scoring request got."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Platform:
    """A platform at ``home``; nothing runs until :meth:`start`."""

    home: Path
    gateway_port: int
    api_port: int
    metrics_port: int
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    flags: tuple[str | Path, ...] = ()
    """More of them for `penstock up`."""

    def start(self) -> None:
        """Run the control plane in the foreground of a process of ours, and wait until it is ready."""
        # Kept across restarts, so that a failing test shows all of it.
        with (self.home.parent / "up.log").open("ab") as log:
            self.process = subprocess.Popen(self.up_command(), stdout=log, stderr=log, env=self.env())
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            assert self.process.poll() is None, f"`penstock up` ended: {self.log()}"
            assert time.monotonic() < deadline, f"`penstock up` is not ready: {self.log()}"
            time.sleep(0.05)

    def up_command(self) -> list[str | Path]:
        """`penstock up` in the foreground."""
        ports = ["--gateway-port", str(self.gateway_port), "--api-port", str(self.api_port)]
        return [PENSTOCK, "up", "--home", self.home, *ports, *self.flags]

    def ready(self) -> bool:
        """Whether `platform.json` names the process that runs now."""
        try:
            told = json.loads((self.home / "platform.json").read_bytes())
        except (OSError, ValueError):
            return False
        return self.process is not None and told["pid"] == self.process.pid

    def kill(self) -> None:
        """`kill -9` of the control plane alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """What Ctrl-C does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)

    def destroy(self) -> None:
        """End everything, whatever state it is in, and check that nothing is left."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            if self.process.poll() is None:
                self.kill()
        self.cli("down", "--home", str(self.home), check=False)
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert not left, f"left behind: {left}"

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this home, found by its command line, working directory or environment.

        What is asked of one later may fail, since it may have ended; its ``info`` holds its ``name`` and ``cmdline``.
        """
        found = []
        for process in psutil.process_iter(["name", "status", "cmdline", "cwd", "environ"]):
            seen = process.info
            if process.pid != os.getpid() and seen["status"] != psutil.STATUS_ZOMBIE:
                words = [*(seen["cmdline"] or ()), seen["cwd"] or "", (seen["environ"] or {}).get("PENSTOCK_HOME", "")]
                if any(str(self.home) in word for word in words):
                    found.append(process)
        return found

    def cli(
        self, *arguments: str | Path, check: bool = True, timeout: float = 180.0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `penstock` with ``arguments``."""
        done = subprocess.run(
            [PENSTOCK, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.env(),
            cwd=cwd,
        )
        if check:
            assert done.returncode == 0, f"penstock {arguments}: {done.stdout}\n{done.stderr}\n{self.log()}"
        return done

    def json(self, *arguments: str | Path) -> Any:
        """Run `penstock ... -o json` and read its answer."""
        return json.loads(self.cli(*arguments, "-o", "json").stdout)

    def client(self) -> Client:
        """A client of this platform: for what a test looks at often, since a command takes a second."""
        return Client(settings=Settings(home=self.home), retry=Retry(attempts=0))

    def key(self, endpoint: str) -> str:
        """The endpoint's primary key."""
        return str(self.json("online-endpoint", "get-credentials", "-n", endpoint)["primaryKey"])

    def token(self, endpoint: str) -> str:
        """A new token for the endpoint."""
        return str(self.json("online-endpoint", "get-credentials", "-n", endpoint)["accessToken"])

    def score(
        self,
        endpoint: str,
        body: Any,
        *,
        key: str | None,
        headers: Mapping[str, str] | None = None,
        path: str = "score",
        method: str = "POST",
    ) -> Answer:
        """One scoring request through the gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=30)
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, f"/endpoints/{endpoint}/{path}", content, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def score_or_none(self, endpoint: str, key: str) -> int | None:
        """The status of one scoring request, None when there is no answer."""
        try:
            return self.score(endpoint, {}, key=key).status
        except (OSError, http.client.HTTPException):
            return None

    def until(self, true: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something that has to become true."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds:g} s\n{self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        """The end of what the control plane said."""
        path = self.home.parent / "up.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def refused(self) -> str:
        """What the gateway's access log says of the first requests it answered with anything but 200."""
        lines = (self.home / "logs" / "gateway-access.log").read_text().splitlines()
        return "\n".join([line for line in lines if json.loads(line)["ResponseCode"] != 200][:10])

    def env(self) -> dict[str, str]:
        """The environment of every command."""
        ours = {"PENSTOCK_HOME": str(self.home), "PENSTOCK_METRICS_PORT": str(self.metrics_port), "NO_COLOR": "1"}
        return {**os.environ, **ours, **self.environment}


def new_platform() -> Platform:
    """A platform in a folder of its own, short enough for Unix sockets."""
    home = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp")) / "home"
    return Platform(home, free_port(), free_port(), free_port())


def remove(platform: Platform) -> None:
    """Take the platform's folder away."""
    shutil.rmtree(platform.home.parent, ignore_errors=True)
