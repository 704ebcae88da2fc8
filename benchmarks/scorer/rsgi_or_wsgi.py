"""Which of granian's interfaces carries a blocking ``run`` at the least cost?

The scorer's hot path is one JSON body in, one blocking Python call, one JSON body out. granian can hand the
request to Python in several ways; this script serves the same ``run`` through each, in the same round, on one
core, with the load generator (``wrk``) on another, and prints requests per second and CPU microseconds per
request of the server process. CPU per request is the figure to trust on a noisy machine.

    python benchmarks/scorer/rsgi_or_wsgi.py [--rounds 3] [--seconds 3] [--connections 16]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BODY = json.dumps({"data": [[float(i) for i in range(10)]]})
HEADERS = [("content-type", "application/json")]


def run(body: bytes, spin_us: float) -> bytes:
    """What a user's ``run`` costs: parse, think for ``spin_us``, answer."""
    data = json.loads(body)
    end = time.perf_counter() + spin_us / 1e6
    while time.perf_counter() < end:
        pass
    return json.dumps([sum(data["data"][0])]).encode()


class SlotThread:
    """One thread that runs jobs from a queue."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            fn, args = self.jobs.get()
            fn(*args)


def rsgi_inline(spin_us: float) -> Any:
    """``run`` on the event loop's own thread."""

    async def app(_scope: Any, proto: Any) -> None:
        proto.response_bytes(200, HEADERS, run(await proto(), spin_us))

    return app


def rsgi_executor(spin_us: float) -> Any:
    """``run`` in a ThreadPoolExecutor, awaited."""
    pool = ThreadPoolExecutor(1)

    async def app(_scope: Any, proto: Any) -> None:
        body = await proto()
        result = await asyncio.get_running_loop().run_in_executor(pool, run, body, spin_us)
        proto.response_bytes(200, HEADERS, result)

    return app


def rsgi_slot(spin_us: float) -> Any:
    """``run`` in a plain thread which sends the response itself; the loop only queues."""
    slot = SlotThread()

    def work(proto: Any, body: bytes) -> None:
        proto.response_bytes(200, HEADERS, run(body, spin_us))
        proto.finished()

    class Held:
        __slots__ = ("finished", "response_bytes")

    async def app(_scope: Any, proto: Any) -> None:
        body = await proto()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        held = Held()
        held.response_bytes = proto.response_bytes
        held.finished = lambda: loop.call_soon_threadsafe(future.set_result, None)
        slot.jobs.put((work, (held, body)))
        await future

    return app


def wsgi(spin_us: float) -> Any:
    """``run`` in granian's own blocking thread."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        result = run(environ["wsgi.input"].read(), spin_us)
        start_response("200 OK", HEADERS)
        return [result]

    return app


class Handoff:
    """Stands where granian expects an event loop: a body that has arrived is queued for the slot thread."""

    def __init__(self, jobs: queue.SimpleQueue[Any]) -> None:
        self.jobs = jobs

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> None:  # noqa: ARG002
        """Queue what has become ready."""
        self.jobs.put((callback, args))

    call_soon_threadsafe = call_soon


def serve(variant: str, path: str, spin_us: float) -> None:
    """Serve one variant on a Unix socket until killed."""
    from granian._futures import _future_watcher_wrapper, _new_cbscheduler  # noqa: PLC0415
    from granian._granian import CallbackScheduler, RSGIWorker, SocketHolder, WorkerSignal, WSGIWorker  # noqa: PLC0415
    from granian.http import HTTP1Settings, HTTP2Settings  # noqa: PLC0415
    from granian.wsgi import _callback_wrapper as wsgi_wrapper  # noqa: PLC0415

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    holder = SocketHolder(listener.detach(), True, 1024)
    signal_ = WorkerSignal()
    tail = (None, False, None, None, None, "tls1.3", None, [], False, (None, None))

    def settings(threads: int) -> tuple[Any, ...]:
        return (1, (None, holder), None, 1, 4, threads, 30, 1024, "1", HTTP1Settings(), HTTP2Settings())

    if variant.startswith("wsgi"):
        threads = int(variant[4:] or 1)
        loop: Any = asyncio.new_event_loop()
        worker: Any = WSGIWorker(*settings(threads), *tail)
        worker.serve_mtr_uds(_new_cbscheduler(loop, wsgi_wrapper(wsgi(spin_us), {}), True), loop, signal_)
        threading.Event().wait()
    elif variant == "rsgi-direct":
        slot = SlotThread()

        def answer(proto: Any, future: Any) -> None:
            proto.response_bytes(200, HEADERS, run(future.result(), spin_us))

        class Direct(CallbackScheduler):
            def __init__(self, *_: Any) -> None:
                self._schedule_fn = schedule

        def schedule(watcher: Any) -> None:
            proto = watcher.proto
            proto().add_done_callback(lambda future: answer(proto, future))

        handoff = Handoff(slot.jobs)
        worker = RSGIWorker(*settings(1), False, *tail)
        scheduler = Direct(handoff, None, None, None, None)
        worker.serve_mtr_uds(scheduler, handoff, signal_)
        threading.Event().wait()
    else:
        loop = asyncio.new_event_loop()
        app = {"rsgi-inline": rsgi_inline, "rsgi-executor": rsgi_executor, "rsgi-slot": rsgi_slot}[variant](spin_us)
        worker = RSGIWorker(*settings(1), False, *tail)
        scheduler = _new_cbscheduler(loop, _future_watcher_wrapper(app), True)
        worker.serve_mtr_uds(scheduler, loop, signal_)
        loop.run_forever()


def cpu_seconds(pid: int) -> float:
    """User plus system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(path: str, seconds: float, connections: int) -> int:
    """Keep ``connections`` busy on a Unix socket for ``seconds``; returns the number of answers."""
    import selectors  # noqa: PLC0415

    request = (
        f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
    ).encode()
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(request)
        selector.register(client, selectors.EVENT_READ)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(0.1):
            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"unexpected answer {data[:80]!r}")
            count += 1
            key.fileobj.sendall(request)  # type: ignore[union-attr]
    return count


def measure(
    variant: str, spin_us: float, seconds: float, connections: int, cores: tuple[int, int]
) -> tuple[float, float]:
    """One round: requests per second, and CPU microseconds per request of the server."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/s"
        command = [
            "taskset",
            "-c",
            str(cores[0]),
            sys.executable,
            __file__,
            "--serve",
            variant,
            path,
            str(spin_us),
        ]
        server = subprocess.Popen(command)
        try:
            for _ in range(200):
                try:
                    probe = socket.socket(socket.AF_UNIX)
                    probe.connect(path)
                    probe.close()
                    break
                except OSError:
                    time.sleep(0.05)
            client = ["taskset", "-c", str(cores[1]), sys.executable, __file__, "--load", path]
            subprocess.run([*client, "0.5", str(connections)], check=True, capture_output=True)
            before = cpu_seconds(server.pid)
            out = subprocess.run([*client, str(seconds), str(connections)], check=True, capture_output=True, text=True)
            count = int(out.stdout)
            return count / seconds, (cpu_seconds(server.pid) - before) / count * 1e6
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()


VARIANTS = ("rsgi-inline", "rsgi-executor", "rsgi-slot", "rsgi-direct", "wsgi", "wsgi4")


def main() -> None:
    """Run every variant in interleaved rounds and print one table."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], float(sys.argv[4]))
        return
    if sys.argv[1:2] == ["--load"]:
        print(load(sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cores", default="0,1", help="server core, client core")
    options = parser.parse_args()
    cores = tuple(int(core) for core in re.split(",", options.cores))
    for spin_us in (0.0, 70.0):
        for connections in (1, 16):
            print(f"\nrun spins {spin_us:.0f} us, {connections} connection(s)")
            rounds: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
            for _ in range(options.rounds):
                for variant in VARIANTS:
                    rounds[variant].append(
                        measure(variant, spin_us, options.seconds, connections, (cores[0], cores[1]))
                    )
            for variant, results in rounds.items():
                rate = statistics.median(r for r, _ in results)
                cost = statistics.median(c for _, c in results)
                print(f"  {variant:14} {rate:8.0f} req/s {cost:7.1f} us CPU/request")


if __name__ == "__main__":
    main()
