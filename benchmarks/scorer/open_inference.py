"""What the Open Inference Protocol costs beyond its transport.

A tensor of 1 MiB goes in and comes back, once through the real server (``infer`` returns what it gets), once through
an echo on the very same listener, which does no more than copy: the ratio is the protocol's own cost. Rounds are
interleaved; CPU is the server process' own. One server core, the clients on the others.

    python benchmarks/scorer/open_inference.py [--rounds 5] [--seconds 1] [--mib 1] [--connections 1]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

SCRIPT = "def init(): pass\ndef infer(inputs): return inputs\n"
MODEL = "/v2/models/model/infer"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def echo(http_path: str, grpc_path: str) -> None:
    """Serve both echoes until killed."""
    from penstock_scorer.grpc.listener import Listener as GrpcListener  # noqa: PLC0415
    from penstock_scorer.http.listener import Listener  # noqa: PLC0415
    from penstock_scorer.supervision.memory import keep_freed_memory  # noqa: PLC0415

    keep_freed_memory()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(http_path)
    Listener(
        listening, lambda request: request.read(lambda body: request.respond(200, [], body)), _too_large, 2**30
    ).start()
    GrpcListener(f"unix:{grpc_path}", lambda call: call.read(lambda body: call.reply(body, []))).start()
    threading.Event().wait()


def _too_large(request: Any, limit: int) -> None:
    request.respond(413, [], f"more than {limit} bytes".encode())


def http_client(path: str, body: bytes, headers: dict[str, str]) -> Callable[[], None]:
    """A function that makes one request on a connection of its own."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)

    def call() -> None:
        connection.request("POST", MODEL, body, headers)
        response = connection.getresponse()
        if response.status != 200 or len(response.read()) < len(body) // 2:  # noqa: PLR2004
            raise AssertionError(response.status)

    return call


def grpc_client(path: str, body: bytes) -> Callable[[], None]:
    """A function that makes one call on a channel of its own."""
    channel = grpc.insecure_channel(f"unix:{path}", options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)])
    method = channel.unary_unary(METHOD)

    def call() -> None:
        if len(method(body)) < len(body) // 2:
            raise AssertionError("short")

    return call


def bodies(size: int) -> tuple[bytes, dict[str, str], bytes]:
    """The REST body with its headers, and the gRPC message."""
    from penstock_scorer.grpc import wire  # noqa: PLC0415
    from penstock_scorer.grpc.generated import inference_pb2 as pb  # noqa: PLC0415

    raw = np.random.default_rng(0).random(size // 4, np.float32).tobytes()
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [1, size // 4],
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    message = pb.ModelInferRequest(model_name="model")
    message.inputs.add(name="x", datatype="FP32", shape=[1, size // 4])
    return (
        head + raw,
        {"inference-header-content-length": str(len(head))},
        wire.join(message.SerializeToString(), 7, [raw]),
    )


def cpu_us(pid: int) -> float:
    """CPU time of a process and its children, microseconds."""
    total = 0
    for process in (pid, *children(pid)):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * 1e6 / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """A process' children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def measure(calls: list[Callable[[], None]], pid: int, seconds: float) -> tuple[float, float, float]:
    """Requests/s, median microseconds a request, CPU microseconds a request."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    def work(call: Callable[[], None]) -> None:
        while (began := time.perf_counter()) < end:
            call()
            latencies.append(time.perf_counter() - began)

    before, began = cpu_us(pid), time.perf_counter()
    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - began
    count = len(latencies)
    return count / taken, statistics.median(latencies) * 1e6, (cpu_us(pid) - before) / count


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--mib", type=float, default=1)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--echo", nargs=2)
    options = parser.parse_args()
    if options.echo:
        echo(*options.echo)
        return
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        paths = {name: f"{folder}/{name}" for name in ("http-echo", "grpc-echo", "http", "grpc")}
        (Path(folder) / "score.py").write_text(SCRIPT)
        pin = ["taskset", "-c", str(cores[-1])]
        servers = [
            subprocess.Popen([*pin, sys.executable, __file__, "--echo", paths["http-echo"], paths["grpc-echo"]]),
            subprocess.Popen(
                [
                    *pin, sys.executable, "-m", "penstock_scorer", "--entry_script", f"{folder}/score.py",
                    "--uds", paths["http"], "--grpc_uds", paths["grpc"],
                ],
                stdout=subprocess.DEVNULL,
            ),
        ]  # fmt: skip
        try:
            if len(cores) > 1:
                os.sched_setaffinity(0, cores[:-1])
            while not all(Path(path).exists() for path in paths.values()):
                if any(server.poll() is not None for server in servers):
                    raise SystemExit("a server did not start")
                time.sleep(0.05)
            time.sleep(0.5)
            rest, headers, message = bodies(int(options.mib * 2**20) // 4 * 4)
            count = range(options.connections)
            clients = {
                "http-echo": [http_client(paths["http-echo"], rest, headers) for _ in count],
                "http": [http_client(paths["http"], rest, headers) for _ in count],
                "grpc-echo": [grpc_client(paths["grpc-echo"], message) for _ in count],
                "grpc": [grpc_client(paths["grpc"], message) for _ in count],
            }
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in clients}
            for _ in range(options.rounds):
                for name, calls in clients.items():
                    pid = servers[0 if "echo" in name else 1].pid
                    found[name].append(measure(calls, pid, options.seconds))
        finally:
            for server in servers:
                server.kill()
                server.wait()
    print(f"{options.mib} MiB, {options.connections} connection(s), medians of {options.rounds} rounds")
    print("| | requests/s | p50 us | CPU us |\n|---|---|---|---|")
    medians = {
        name: [statistics.median(row[index] for row in rows) for index in range(3)] for name, rows in found.items()
    }
    for name, (rate, latency, cpu) in medians.items():
        print(f"| {name} | {rate:,.0f} | {latency:,.0f} | {cpu:,.0f} |")
    for name in ("http", "grpc"):
        ours, base = medians[name], medians[f"{name}-echo"]
        print(f"{name}: {ours[1] / base[1]:.2f} times the echo's p50, {ours[2] / base[2]:.2f} times its CPU")


if __name__ == "__main__":
    main()
