"""Both servers on Unix sockets, serving the same script, each in a virtual environment of its own.

The environments are made by uv once and kept below ``.work/`` (named by what is in them), because the peer pins
packages that neither Penstock nor the scorer wants.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PEER = "azureml-inference-server-http==1.5.1"
_REPOSITORY = Path(__file__).resolve().parents[3]
_SHARED = ("numpy>=2,<3", "pandas>=2,<4", "inference-schema==1.8", "flask>=3,<4")
_ENVIRONMENTS = {"peer": (PEER, *_SHARED), "ours": ("granian>=2.8.5,<2.9", "httptools>=0.6.4", *_SHARED)}
# The peer listens on every interface; here it may only be reached through a socket. gunicorn appends ":1".
_START_PEER = """
import sys
from azureml_inference_server_http import amlserver
amlserver.DEFAULT_HOST = "unix:" + sys.argv.pop(1)
amlserver.run()
"""


@dataclass(frozen=True)
class Request:
    """One request, as it goes over the wire."""

    method: str = "GET"
    target: str = "/score"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    chunked: bool = False

    def sent(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True)
class Reply:
    """One answer; status 0 when the connection was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None


@dataclass
class Process:
    """A running server."""

    uds: str
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    python: str

    def send(self, request: Request, timeout: float = 20) -> Reply:
        """One request on a connection of its own."""
        return send(self.uds, request, timeout)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def send(uds: str, request: Request, timeout: float = 20) -> Reply:
    """Write a request exactly as given, read the answer."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(timeout)
        wire.connect(uds)
        with contextlib.suppress(BrokenPipeError):  # refused before it was read: the answer is there
            wire.sendall(_encode(request))
        response = http.client.HTTPResponse(wire, method=request.method)
        try:
            response.begin()
            body = response.read()
        except (http.client.HTTPException, ConnectionError):
            return Reply(0)
        finally:
            response.close()
        headers = tuple((name.lower(), value) for name, value in response.msg.items())
        return Reply(response.status, headers, body)


def start(which: str, script: Path, environ: dict[str, str], *arguments: str) -> Process:
    """Start a server on a Unix socket and wait until it answers."""
    python = interpreter(which)
    folder = Path(tempfile.mkdtemp(prefix=f"df-{which[0]}", dir="/tmp"))
    uds = str(folder / "s")
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {**inherited, "AML_APP_ROOT": str(script.parent), **environ}
    if which == "peer":
        command = [python, "-c", _START_PEER, uds, "--entry_script", str(script), "--port", "1", *arguments]
        uds += ":1"
    else:
        environ["PYTHONPATH"] = str(_REPOSITORY / "scorer")
        command = [python, "-m", "penstock_scorer", "--entry_script", str(script), "--uds", uds, *arguments]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=script.parent)
    server = Process(uds, process, log, folder, python)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if process.poll() is None and server.send(Request(target="/")).status == 200:
                return server
        except OSError:
            time.sleep(0.05)
        if process.poll() is not None:
            raise AssertionError(f"{which} ended: {log.read_text()}")
    raise AssertionError(f"{which} is not ready: {log.read_text()}")


def interpreter(which: str) -> str:
    """The interpreter of a virtual environment, made where it is missing."""
    packages = _ENVIRONMENTS[which]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256("\n".join((version, *packages)).encode()).hexdigest()[:12]
    home = _REPOSITORY / ".work" / "environments" / f"{which}-{key}"
    python = home / "bin" / "python"
    if not (home / ".complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(home)], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", str(python), *packages], check=True)
        (home / ".complete").touch()
    return str(python)


def _encode(request: Request) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    body = request.body or b""
    if request.chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part) + b"0\r\n\r\n"
    elif request.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
