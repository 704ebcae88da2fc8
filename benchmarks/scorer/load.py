"""One load generator for every benchmark of the scorer: wrk where it is installed, else a small one of our own.

A wrk of one thread makes some 100,000 requests a second, ours about 20,000: enough for a Python server on one core.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = io.open(%s, "rb"):read("*a")
done = function(summary, latency)
  local e = summary.errors
  local bad = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('\\n{"count": %%d, "errors": %%d, "seconds": %%f, "p50": %%d, "p99": %%d}\\n',
    summary.requests, bad, summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one round saw. Times in microseconds."""

    count: int
    errors: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds


class FailedRequestsError(Exception):
    """Some answers were not 200, or none came."""


def generator() -> str:
    """Which generator :func:`drive` uses."""
    return "wrk" if shutil.which("wrk") else "benchmarks/scorer/load.py"


def drive(  # noqa: PLR0917
    port: int, path: str, body: bytes, connections: int, seconds: float, prefix: list[str]
) -> Load:
    """POST ``body`` to 127.0.0.1 for ``seconds`` over some connections, each with one request at a time.

    ``prefix`` goes before the generator's command (``taskset``).

    Raises:
        FailedRequestsError: not every answer was a 200.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        payload, script = Path(folder, "body"), Path(folder, "post.lua")
        payload.write_bytes(body)
        script.write_text(_LUA % json.dumps(str(payload)))
        if shutil.which("wrk"):
            command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
            command.append(f"http://127.0.0.1:{port}{path}")
        else:
            command = [sys.executable, __file__, str(port), path, str(payload), str(connections), str(seconds)]
        out = subprocess.run([*prefix, *command], check=True, capture_output=True, text=True).stdout
    load = Load(**json.loads(out.strip().splitlines()[-1]))
    if load.errors or not load.count:
        raise FailedRequestsError(f"{load.errors} of {load.count} requests to {path} failed")
    return load


def post(port: int, path: str, body: bytes, connections: int, seconds: float) -> Load:
    """What wrk does, in this process. An answer must have a content-length and fit into 64 KiB."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    selector = selectors.DefaultSelector()
    sent: dict[socket.socket, float] = {}
    clock = time.perf_counter
    begun = clock()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
        sent[client] = clock()
        client.sendall(request)
    latencies: list[float] = []
    buffers = dict.fromkeys(sent, b"")
    errors = 0
    while (now := clock()) < begun + seconds:
        for key, _ in selector.select(0.1):
            client = key.fileobj  # type: ignore[assignment]
            data = buffers[client] + (received := client.recv(65536))
            top, separator, rest = data.partition(b"\r\n\r\n")
            length = top.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            if received and (not separator or len(rest) < int(length)):
                buffers[client] = data
                continue
            errors += not top.startswith(b"HTTP/1.1 200")
            if not received:
                selector.unregister(client)
                continue
            buffers[client] = b""
            now = clock()
            latencies.append(now - sent[client])
            sent[client] = now
            client.sendall(request)
    ordered = sorted(latencies) or [0.0]
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e6 for share in (0.5, 0.99))
    return Load(len(latencies), errors, now - begun, p50, p99)


if __name__ == "__main__":
    _, _port, _path, _body, _connections, _seconds = sys.argv
    print(json.dumps(vars(post(int(_port), _path, Path(_body).read_bytes(), int(_connections), float(_seconds)))))
