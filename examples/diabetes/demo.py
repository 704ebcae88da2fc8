"""The whole of Penstock in half a minute: `make demo`.

Starts a platform of its own, serves two models through it, splits and shifts traffic under load, and cleans up. What
it types is what you would type. The exit code says whether everything held.
"""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load import Load
from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).resolve().parent
REQUESTS = 1_000
GREEN_PERCENT = 10
SIGMAS = 5  # a split further off than this is not chance: 1 run in 1.7 million
CLIENTS = 8
PATIENTS = 2  # in sample-request.json
LEAST, MOST = 25, 346  # of the values the models were trained on
console = Console()


class Demo:
    """One run: a platform in a folder of its own, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work = folder / "home", folder / "diabetes"
        self.environment = {**os.environ, "PENSTOCK_HOME": str(self.home)}
        for name in ("PENSTOCK_TARGET", "PENSTOCK_TOKEN"):
            self.environment.pop(name, None)
        self.mistakes: list[str] = []

    def penstock(self, *words: str) -> str:
        """Type a command; its data is returned, its progress is shown."""
        console.print(
            f"  [dim]$[/] penstock {escape(' '.join(map(self._quoted, words)))}", highlight=False, soft_wrap=True
        )
        command = [str(Path(sys.executable).with_name("penstock")), *words]
        ran = subprocess.run(
            command, cwd=self.work, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        if ran.returncode != 0:
            raise SystemExit(f"`penstock {words[0]}` failed, see above")
        return ran.stdout

    def check(self, holds: bool, said: str) -> None:
        """Note something that has to hold."""
        console.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {escape(said)}", highlight=False)
        if not holds:
            self.mistakes.append(said)

    def run(self) -> None:
        shutil.copytree(HERE, self.work, ignore=shutil.ignore_patterns("models", "__pycache__"))
        with step("Start the platform, and meanwhile train two models on scikit-learn's diabetes data"):
            training = subprocess.Popen(
                [sys.executable, "train.py"], cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            ports = free_ports(2)
            self.penstock("up", "--detach", "--gateway-port", str(ports[0]), "--api-port", str(ports[1]))
            with console.status("training"):
                told, _ = training.communicate()
            console.print(indented(told), highlight=False, markup=False)
            if training.returncode != 0:
                raise SystemExit("the training failed, see above")

        with step("Deploy both models behind one endpoint"):
            endpoint = json.loads(self.penstock("online-endpoint", "create", "-f", "endpoint.yml"))
            for color in ("blue", "green"):
                self.penstock("online-deployment", "create", "-f", f"{color}.yml")
            shares = f"blue={100 - GREEN_PERCENT} green={GREEN_PERCENT}"
            self.penstock("online-endpoint", "update", "-n", "diabetes", "--traffic", shares)

            key = json.loads(self.penstock("online-endpoint", "get-credentials", "-n", "diabetes"))["primaryKey"]
        body = (self.work / "sample-request.json").read_bytes()
        with step("Ask each of them"):
            self.predictions()
        with step(f"Send {REQUESTS:,} authenticated requests through the gateway"):
            self.split(Load(endpoint["scoring_uri"], key, body, CLIENTS))
        with step("Shift all traffic to green while requests go on"):
            self.shift(Load(endpoint["scoring_uri"], key, body, CLIENTS))
        with step("Look at the platform"):
            console.print(indented(self.penstock("status", "-o", "table")), highlight=False, markup=False)

    def predictions(self) -> None:
        for color in ("blue", "green"):
            asked = ["invoke", "-n", "diabetes", "-d", color, "--request-file", "sample-request.json"]
            found = json.loads(self.penstock("online-endpoint", *asked))
            self.check(
                len(found) == PATIENTS and all(LEAST <= value <= MOST for value in found),
                f"{color} predicts {' and '.join(f'{value:.1f}' for value in found)}",
            )

    def split(self, load: Load) -> None:
        with console.status("") as status:
            load.start(REQUESTS)
            while load.answers.count < REQUESTS:
                status.update(f"{load.answers.count:,} of {REQUESTS:,}")
                time.sleep(0.05)
        answers = load.wait()
        table = Table("  deployment", "asked for", "observed", box=None, padding=(0, 4, 0, 0))
        for color, percent in (("blue", 100 - GREEN_PERCENT), ("green", GREEN_PERCENT)):
            table.add_row(f"  {color}", f"{percent} %", f"{100 * answers.deployments[color] / REQUESTS:.1f} %")
        console.print(table)
        p50, p99 = answers.percentile(50), answers.percentile(99)
        console.print(f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, {CLIENTS} connections", highlight=False)
        self.check(not answers.failures, f"{answers.count:,} answers, failures: {said(answers.failures)}")
        share = GREEN_PERCENT / 100
        sigma = math.sqrt(REQUESTS * share * (1 - share))
        off = abs(answers.deployments["green"] - REQUESTS * share) / sigma
        self.check(off <= SIGMAS, f"the split is what was asked for ({off:.1f} sigma off)")

    def shift(self, load: Load) -> None:
        load.start()
        time.sleep(0.5)
        self.penstock("online-endpoint", "update", "-n", "diabetes", "--traffic", "blue=0 green=100")
        before = load.fresh()
        time.sleep(0.5)
        after = load.stop()
        failures = before.failures + after.failures
        total = before.count + after.count
        self.check(not failures, f"{total:,} requests before, during and after, failures: {said(failures)}")
        self.check(
            set(after.deployments) == {"green"},
            f"since the update returned, green alone has answered: {said(after.deployments)}",
        )

    def clean_up(self) -> None:
        if self.home.exists():
            self.penstock("down")

    @staticmethod
    def _quoted(word: str) -> str:
        return f'"{word}"' if " " in word else word


@contextmanager
def step(what: str) -> Iterator[None]:
    console.print(f"\n[bold]{escape(what)}[/]", highlight=False)
    started = time.perf_counter()
    yield
    console.print(f"  [dim]{time.perf_counter() - started:.1f} s[/]", highlight=False)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def said(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counter.items())) or "none"


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip()


def main() -> int:
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        demo = Demo(Path(name))
        try:
            demo.run()
        except KeyboardInterrupt:
            demo.mistakes.append("interrupted")
        except SystemExit as failure:
            demo.mistakes.append(str(failure))
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave anything running
            with step("Clean up"):
                demo.clean_up()
    console.print()
    for mistake in demo.mistakes:
        console.print(f"[red]✗[/] {escape(mistake)}", highlight=False)
    if not demo.mistakes:
        console.print(f"[green]✓[/] all of it held, in {time.perf_counter() - started:.0f} s", highlight=False)
    return 1 if demo.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
