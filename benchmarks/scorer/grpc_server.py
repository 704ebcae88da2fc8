"""Which of grpcio's servers carries a blocking ``run`` at the least cost?

The script's code runs on one slot thread, as in the scorer; the message goes in and comes back. Served by grpcio's
blocking server, by its asyncio server, and by the completion queue both stand on. One server core, clients on the
others, interleaved rounds; CPU a request of the server process is the figure to trust on a noisy machine.

    python benchmarks/scorer/grpc_server.py [--rounds 5] [--seconds 1]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from open_inference import UNLIMITED, grpc_client, measure

KINDS = ("blocking", "asyncio", "queue")


class Handlers(grpc.GenericRpcHandler):
    """Every method is one handler."""

    def __init__(self, handler: Any) -> None:
        self._handler = grpc.unary_unary_rpc_method_handler(handler)

    def service(self, _details: Any) -> Any:
        """The handler."""
        return self._handler


def serve(kind: str, path: str) -> None:
    """Serve until killed."""
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def slot() -> None:
        while True:
            body, done = jobs.get()
            done(body)

    threading.Thread(target=slot, daemon=True).start()
    if kind == "blocking":
        serve_blocking(jobs, path)
    elif kind == "asyncio":
        asyncio.run(serve_asyncio(jobs, path))
    else:
        from penstock_scorer.grpc.listener import Call, Listener  # noqa: PLC0415

        def handle(call: Call) -> None:
            call.read(lambda body: jobs.put((body, lambda answer: call.reply(answer, []))))

        Listener(f"unix:{path}", handle).start()
        threading.Event().wait()


def serve_blocking(jobs: queue.SimpleQueue[Any], path: str) -> None:
    """The server of threads."""

    def handle(body: bytes, _context: Any) -> bytes:
        answer: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        jobs.put((body, answer.put))
        return answer.get()

    server = grpc.server(ThreadPoolExecutor(64), options=UNLIMITED)
    server.add_generic_rpc_handlers((Handlers(handle),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    server.wait_for_termination()


async def serve_asyncio(jobs: queue.SimpleQueue[Any], path: str) -> None:
    """The server on an event loop."""

    async def handle(body: bytes, _context: Any) -> bytes:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        jobs.put((body, lambda found: loop.call_soon_threadsafe(answer.set_result, found)))
        return await answer

    server = grpc.aio.server(options=UNLIMITED)
    server.add_generic_rpc_handlers((Handlers(handle),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--serve", nargs=2)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    cores = sorted(os.sched_getaffinity(0))
    pin = ["taskset", "-c", str(cores[-1])]
    found: dict[tuple[str, int, int], list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        command = [*pin, sys.executable, __file__, "--serve"]
        servers = {kind: subprocess.Popen([*command, kind, f"{folder}/{kind}"]) for kind in KINDS}
        try:
            os.sched_setaffinity(0, cores[:-1] or cores)
            while not all((Path(folder) / kind).exists() for kind in KINDS):
                time.sleep(0.05)
            for _ in range(options.rounds):
                for size in (100, 2**20):
                    for connections in (1, 8):
                        for kind, server in servers.items():
                            body = os.urandom(size)
                            calls = [grpc_client(f"{folder}/{kind}", body) for _ in range(connections)]
                            row = measure(calls, server.pid, options.seconds)
                            found.setdefault((kind, size, connections), []).append(row)
        finally:
            for server in servers.values():
                server.kill()
                server.wait()
    print("| server | bytes | connections | requests/s | p50 us | CPU us |\n|---|---|---|---|---|---|")
    for (kind, size, connections), rows in found.items():
        rate, latency, cpu = (statistics.median(row[index] for row in rows) for index in range(3))
        print(f"| {kind} | {size:,} | {connections} | {rate:,.0f} | {latency:,.0f} | {cpu:,.0f} |")


if __name__ == "__main__":
    main()
