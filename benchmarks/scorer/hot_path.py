"""What a request costs in the scorer, and what batching wins: the real server on one core, wrk on another.

Prints requests per second and CPU microseconds per request of the worker (``run`` included), for scripts that
cost nothing, that predict with scikit-learn one request at a time, and that predict in batches; beside them
the same ``run`` in a bare loop. Rounds are interleaved, medians printed. CPU per request is the figure to
trust on a noisy machine.

    python benchmarks/scorer/hot_path.py [--rounds 3] [--seconds 2] [--cores 0,1] [--only NAME,...]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROW = [float(i) for i in range(10)]
BODY = json.dumps({"data": [ROW]})
_MODEL = """
import json, time
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
def init():
    global model
    model = LinearRegression().fit(*load_diabetes(return_X_y=True))
"""
_ONE = "def run(data):\n    return model.predict(np.array(json.loads(data)['data'])).tolist()\n"
_MANY = """
from penstock_scorer import batched
@batched(max_size=16, max_delay_ms=2)
def run(inputs):
    found = [json.loads(text)['data'] for text in inputs]
    rows = [row for data in found for row in data]
    results = model.predict(np.array(rows)).tolist()
    answers, at = [], 0
    for data in found:
        answers.append(results[at : at + len(data)])
        at += len(data)
    return answers
"""
SCRIPTS = {
    "nothing": "import json\ndef init(): pass\ndef run(data): return [45.0]\n",
    "async": "import json\ndef init(): pass\nasync def run(data): return [45.0]\n",
    "sklearn": _MODEL + _ONE,
    "batched": _MODEL + _MANY,
}
_LUA = 'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\nwrk.body = [==[%s]==]\n'


def bare_loop(seconds: float, core: int) -> float:
    """Calls a second of the unbatched ``run``, parsing and encoding included, with no server at all."""
    code = _MODEL + _ONE + (
        f"init()\nbody = {BODY!r}\nend = time.perf_counter() + {seconds}\nn = 0\n"
        "while time.perf_counter() < end:\n    json.dumps(run(body)).encode(); n += 1\n"
        f"print(n / {seconds})"
    )  # fmt: skip
    out = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-c", code],
        check=True, capture_output=True, text=True, env=_ENVIRON,
    )  # fmt: skip
    return float(out.stdout)


_ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def cpu_seconds(pid: int) -> float:
    """User plus system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(script: str, seconds: float, connections: int, cores: tuple[int, int]) -> tuple[float, float, str]:
    """One round: requests per second, CPU microseconds per request, wrk's p50 and p99."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "score.py").write_text(SCRIPTS[script])
        (folder / "w.lua").write_text(_LUA % BODY)
        command = ["taskset", "-c", str(cores[0]), sys.executable, "-m", "penstock_scorer"]
        command += ["--entry_script", "score.py", "--port", str(port)]
        server = subprocess.Popen(
            command, cwd=folder, env=_ENVIRON, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            worker = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
            wrk = ["taskset", "-c", str(cores[1]), "wrk", "-t1", f"-c{connections}", "--latency"]
            wrk += ["-s", str(folder / "w.lua"), f"http://127.0.0.1:{port}/score"]
            subprocess.run([*wrk, "-d1s"], check=True, capture_output=True)
            before = cpu_seconds(worker)
            out = subprocess.run([*wrk, f"-d{seconds:.0f}s"], check=True, capture_output=True, text=True).stdout
            cpu = cpu_seconds(worker) - before
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    if "Non-2xx" in out:
        raise SystemExit(out)
    count = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    p50, p99 = (re.search(rf"^ +{p}% +(\S+)", out, re.MULTILINE)[1] for p in (50, 99))  # type: ignore[index]
    return rate, cpu / count * 1e6, f"p50 {p50} p99 {p99}"


def main() -> None:
    """Run interleaved rounds and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cores", default="0,1", help="server core, client core")
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--only", default=",".join(SCRIPTS))
    options = parser.parse_args()
    cores = tuple(int(core) for core in options.cores.split(","))
    cases = [(s, int(c)) for s in options.only.split(",") for c in options.connections.split(",")]
    found: dict[tuple[str, int], list[tuple[float, float, str]]] = {case: [] for case in cases}
    bare = []
    for _ in range(options.rounds):
        bare.append(bare_loop(1, cores[0]))
        for script, connections in cases:
            found[script, connections].append(measure(script, options.seconds, connections, (cores[0], cores[1])))
    print(f"bare loop of the unbatched run: {statistics.median(bare):8.0f} calls/s")
    for (script, connections), rounds in found.items():
        rate, cost = (statistics.median(values) for values in zip(*[r[:2] for r in rounds], strict=True))
        print(f"{script:10} {connections:3} conn. {rate:8.0f} req/s {cost:7.1f} us CPU/request  {rounds[-1][2]}")


if __name__ == "__main__":
    main()
