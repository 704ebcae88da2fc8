"""What gRPC costs a scorer that nobody calls over it, and the first who does.

Starts the scorer with HTTP alone, with gRPC on demand (``--grpc_uds``) and with gRPC from the start (``--grpc_port``),
in turn. Prints medians: seconds from the start of the process to the first 200, MiB (PSS) of all its processes,
milliseconds of the first and of later calls.

Usage: python benchmarks/scorer/grpc_start.py [--rounds N] [--numpy]
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Self

import grpc

SCRIPT = "def init(): pass\ndef run(data): return data\n"
LIVE = "/inference.GRPCInferenceService/ServerLive"
LATER_CALLS = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--numpy", action="store_true", help="a script that imports numpy, as most do")
    options = parser.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "score.py").write_text(("import numpy\n" if options.numpy else "") + SCRIPT)
        for _ in range(options.rounds):
            with Scorer(folder) as scorer:
                scorer.note(figures, "HTTP alone")
            with Scorer(folder, "--grpc_uds", "g") as scorer:
                scorer.note(figures, "on demand")
                call(figures, f"unix:{folder}/g")
                figures["on demand, called: PSS, MiB"].append(scorer.pss())
            with Scorer(folder, "--grpc_port", free_port()) as scorer:
                scorer.note(figures, "from the start")
    for what, values in figures.items():
        print(f"{what:32} {statistics.median(values):9.3f}   ({min(values):.3f} to {max(values):.3f})")


class Scorer:
    """One scorer, while the block runs."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "penstock_scorer", "--uds", "s", "--entry_script", "score.py", *arguments]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not answers(folder / "s"):
            time.sleep(0.005)
        self.seconds = time.perf_counter() - self.began
        time.sleep(0.3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def note(self, figures: dict[str, list[float]], name: str) -> None:
        """What it has cost so far."""
        figures[f"{name}: start, s"].append(self.seconds)
        figures[f"{name}: PSS, MiB"].append(self.pss())

    def pss(self) -> float:
        """Of the supervisor and its worker."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollups = (Path(f"/proc/{each}/smaps_rollup").read_text() for each in (pid, *children))
        lines = (line.split() for text in rollups for line in text.splitlines())
        return sum(int(line[1]) for line in lines if line[0] == "Pss:") / 1024


def answers(path: Path) -> bool:
    """Whether the scorer is ready."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        probe.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return probe.recv(20).startswith(b"HTTP/1.1 200")


def call(figures: dict[str, list[float]], address: str) -> None:
    """The first call and some more."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        took = []
        for _ in range(2 + LATER_CALLS):
            began = time.perf_counter()
            channel.unary_unary(LIVE)(b"", timeout=30)
            took.append(1000 * (time.perf_counter() - began))
    figures["first call, ms"].append(took[0])
    figures["later calls, ms"].append(statistics.median(took[2:]))


def free_port() -> str:
    """A port of this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


if __name__ == "__main__":
    main()
