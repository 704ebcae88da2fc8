"""The scorer beside its peers: the same regression through each server, and the goals of the project.

Every peer gets an environment of its own below .work/peers. In each round each server is started afresh, pinned to
one core, asked by a load generator on another, and ended; medians over the rounds are printed. Absolute figures
depend on what else the machine does: trust the ratios, which are within a round, and CPU time.

    python benchmarks/scorer/bench.py [--rounds 3] [--seconds 2] [--cores 2,3] [--only NAME,...]
"""

# ruff: noqa: PLR2004 - the goals are numbers, named where they are used

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from load import FailedRequestsError, Load, drive, generator
from peers import AZUREML, HERE, PEERS, PENSTOCK, ROW, TENSOR, NotInstalledError, Peer, ours
from served import ENVIRON, NotServingError, Served, adopt_orphans, free_ports

V2 = "/v2/models/model/infer"
NATIVE = {
    "`infer`, tensors as JSON": (ours("score_infer.py", V2, {"inputs": [TENSOR]}), 64),
    "batched `run`": (ours("score_batched.py"), 64),
}
TIMED = ours("score_timed.py")
_BARE = """
import json, sys, time
sys.path.insert(0, ".")
import score
score.init()
body = sys.argv[1]
for lasting in (0.3, float(sys.argv[2])):
    n, cpu, now = 0, time.process_time(), time.perf_counter()
    end = now + lasting
    while time.perf_counter() < end:
        for _ in range(20):
            json.dumps(score.run(body)).encode()
        n += 20
print(n / (time.perf_counter() - now), (time.process_time() - cpu) / n * 1e6)
took = []
for _ in range(5000):
    now = time.perf_counter()
    json.dumps(score.run(body)).encode()
    took.append(time.perf_counter() - now)
print(sorted(took)[4950] / sorted(took)[2500])
"""


@dataclass(frozen=True)
class Round:
    """One start of one server: loads by number of connections, CPU us a request at the last, MiB, seconds."""

    loads: dict[int, Load]
    cpu: float
    pss: float
    start_up: float


@dataclass(frozen=True)
class Bare:
    """``run`` in a loop: calls a second, CPU us a call, and how many times the 50th percentile the 99th is."""

    rate: float
    cpu: float
    spread: float


@dataclass(frozen=True)
class Cost:
    """CPU us a request: inside ``run``, and everything else."""

    run: float
    own: float


class Bench:
    """Runs rounds on two cores."""

    def __init__(self, cores: tuple[str, str], seconds: float) -> None:
        self._seconds = seconds
        self._server, self._client = (["taskset", "-c", core] for core in cores)

    def serve(self, peer: Peer, connections: tuple[int, ...]) -> Round:
        """Start, ask, weigh and end one server.

        Raises:
            NotServingError, FailedRequestsError: it does not do its work.
        """
        port, spare = free_ports(2)
        command = [*self._server, *peer.arguments(port, spare)]
        with Served(command, HERE, port, ("POST", peer.path, peer.payload)) as served:
            drive(port, peer.path, peer.payload, 16, 1, self._client)
            loads = {}
            for count in connections:
                before = served.cpu_us()
                loads[count] = drive(port, peer.path, peer.payload, count, self._seconds, self._client)
                cpu = (served.cpu_us() - before) / loads[count].count
            return Round(loads, cpu, served.pss_mib(), served.start_up)

    def cost(self) -> Cost:
        """What a request costs beyond ``run``, at 16 connections: the process' CPU time less that of ``run`` itself."""
        port, spare = free_ports(2)
        command = [*self._server, *TIMED.arguments(port, spare)]
        with Served(command, HERE, port, ("POST", TIMED.path, TIMED.payload)) as served:
            drive(port, TIMED.path, TIMED.payload, 16, 1, self._client)
            (calls, spent), before = _asked(port), served.cpu_us()
            drive(port, TIMED.path, TIMED.payload, 16, self._seconds, self._client)
            total, (calls_after, spent_after) = served.cpu_us() - before, _asked(port)
        count, run = calls_after - calls, spent_after - spent
        return Cost(run / count, (total - run) / count)

    def bare(self) -> Bare:
        """``run`` in a loop on the server's core, parsing and encoding included."""
        code = [str(PENSTOCK.bin / "python"), "-c", _BARE, json.dumps({"data": [ROW]}), str(self._seconds)]
        out = subprocess.run([*self._server, *code], check=True, capture_output=True, text=True, env=ENVIRON, cwd=HERE)
        return Bare(*map(float, out.stdout.split()))

    def start_up(self) -> float:
        """Seconds until an empty script is ready."""
        port, spare = free_ports(2)
        peer = ours("score_empty.py")
        with Served([*self._server, *peer.arguments(port, spare)], HERE, port, ("GET", "/", b"")) as served:
            return served.start_up


def _asked(port: int) -> tuple[float, float]:
    """Calls so far and the CPU us they spent in ``run``, from ``score_timed.py``."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/score", data=b"{}")
    with urllib.request.urlopen(request) as answer:
        calls, spent = json.load(answer)
    return float(calls), float(spent)


def install(peers: list[Peer]) -> dict[str, str]:
    """Install what can be; returns the versions by name, and prints why one is left out."""
    uv = shutil.which("uv") or str(HERE.parents[1] / ".uv/bin/uv")
    versions = {}
    for peer in peers:
        try:
            versions[peer.name] = peer.install(uv, f"{sys.version_info.major}.{sys.version_info.minor}")
        except NotInstalledError as error:
            print(f"left out: {peer.name} does not install here: {error}")
    return versions


def us(value: float) -> str:
    """Microseconds, readable."""
    return f"{value:.0f} us" if value < 10_000 else f"{value / 1000:.1f} ms"


def table(rounds: dict[str, list[Round]], versions: dict[str, str]) -> None:
    """Print one line a server."""
    parts = "server, version, req/s at 1 conn., p50, p99, req/s at 16 conn., p50, p99, CPU us/request, PSS MiB, start s"
    print("\n| " + parts.replace(",", " |") + " |\n" + "|---" * 11 + "|")
    for name, done in rounds.items():
        cells = []
        for count in (1, 16):
            loads = [each.loads[count] for each in done]
            rate = statistics.median(load.rate for load in loads)
            cells += [
                f"{rate:,.0f}",
                *(us(statistics.median(getattr(load, p) for load in loads)) for p in ("p50", "p99")),
            ]
        cpu, pss, start = (
            statistics.median(getattr(each, part) for each in done) for part in ("cpu", "pss", "start_up")
        )
        print(f"| {name} | {versions[name]} | {' | '.join(cells)} | {cpu:,.0f} | {pss:.0f} | {start:.2f} |")


def ratio(ours_: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: both numbers of each were taken within one round."""
    return statistics.median(a / b for a, b in zip(ours_, theirs, strict=False))


def goals(
    rounds: dict[str, list[Round]],
    native: dict[str, list[Round]],
    bare: list[Bare],
    starts: list[float],
    costs: list[Cost],
) -> None:
    """Print each goal, its figure and whether it is met."""

    def at16(name: str) -> list[float]:
        return [each.loads[16].rate for each in rounds[name]]

    mine, loop = at16("penstock"), [each.rate for each in bare]
    bare_cpu, bare_spread = (statistics.median(getattr(each, part) for each in bare) for part in ("cpu", "spread"))
    print(
        f"\nbare loop of `run`: {statistics.median(loop):,.0f} calls/s, {bare_cpu:.0f} us CPU a call, "
        f"p99 {bare_spread:.2f} times p50"
    )
    for name, done in native.items():
        load = next(iter(done[0].loads))
        rate = statistics.median(each.loads[load].rate for each in done)
        print(
            f"{name}, {load} connections: {rate:,.0f} requests/s, {statistics.median(d.cpu for d in done):.0f} us CPU"
        )
    lines: list[tuple[str, str, bool]] = []
    for name in rounds:
        if name != "penstock":
            least = 6 if name == AZUREML else 4
            times = ratio(mine, at16(name))
            lines.append((f"at least {least} times {name}", f"{times:.1f} times", times >= least))
    share = ratio(mine, loop)
    lines.append(("at least 50 % of the bare loop", f"{share:.0%}", share >= 0.5))
    run, own = (statistics.median(getattr(cost, part) for cost in costs) for part in ("run", "own"))
    lines.append(
        ("the server's own cost at most 60 us CPU a request", f"{own:.0f} us beside {run:.0f} us in `run`", own <= 60)
    )
    spread = statistics.median(each.loads[1].p99 / each.loads[1].p50 for each in rounds["penstock"])
    lines.append(
        (
            "p99 at 1 connection at most 1.5 times p50",
            f"{spread:.2f} times (the bare loop {bare_spread:.2f})",
            spread <= 1.5,
        )
    )
    for name, done in native.items():
        times = ratio([each.loads[64].rate for each in done], loop)
        lines.append((f"{name} at 64 connections above the bare loop", f"{times:.2f} times", times > 1))
    weights = {name: statistics.median(each.pss for each in done) for name, done in rounds.items()}
    weight = weights.pop("penstock")
    if weights:
        leanest = min(weights, key=weights.__getitem__)
        lines.append(
            (f"memory at most {leanest}'s {weights[leanest]:.0f} MiB", f"{weight:.0f} MiB", weight <= weights[leanest])
        )
    start = statistics.median(starts)
    lines.append(("an empty script ready in under 0.7 s", f"{start:.2f} s", start < 0.7))
    print("\n| goal | measured | met |\n|---|---|---|")
    for goal, measured, met in lines:
        print(f"| {goal} | {measured} | {'yes' if met else 'no'} |")


def machine() -> str:
    """When and on what this is measured."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ": ?"
    )
    now = dt.datetime.now(dt.UTC)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} x {model.partition(':')[2].strip()}, "
        f"Python {platform.python_version()}, load by {generator()}"
    )


def main() -> None:
    """Print one table, and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cores", default=None, help="server core, client core")
    parser.add_argument("--only", default="", help="peers to compare with")
    options = parser.parse_args()
    cores = (options.cores or ",".join(map(str, sorted(os.sched_getaffinity(0))[-2:]))).split(",")
    wanted = set(options.only.split(",")) if options.only else {peer.name for peer in PEERS}
    print(machine())
    print(f"server on core {cores[0]}, load on core {cores[-1]}, {options.rounds} rounds of {options.seconds:.0f} s")
    versions = install([peer for peer in PEERS if peer is PENSTOCK or peer.name in wanted])
    peers = {peer.name: peer for peer in PEERS if peer.name in versions}
    adopt_orphans()
    bench = Bench((cores[0], cores[-1]), options.seconds)
    rounds: dict[str, list[Round]] = defaultdict(list)
    native: dict[str, list[Round]] = defaultdict(list)
    bare, starts, costs, busy = [], [], [], [os.getloadavg()[0]]
    for _ in range(options.rounds):
        bare.append(bench.bare())
        starts.append(bench.start_up())
        costs.append(bench.cost())
        for name, peer in list(peers.items()):
            try:
                rounds[name].append(bench.serve(peer, (1, 16)))
            except (NotServingError, FailedRequestsError) as error:
                if peer is PENSTOCK:
                    raise
                print(f"left out: {name}: {error}")
                del peers[name]
                rounds.pop(name)
        for name, (peer, connections) in NATIVE.items():
            native[name].append(bench.serve(peer, (connections,)))
        busy.append(os.getloadavg()[0])
    print(f"load average of the machine: {min(busy):.1f} to {max(busy):.1f}")
    table(rounds, versions)
    goals(rounds, native, bare, starts, costs)


if __name__ == "__main__":
    main()
