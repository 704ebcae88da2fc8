"""Every command of the documentation is run, in order, page by page, and prints what the page says it prints.

In a page, a block marked ``sh`` is run by bash in a folder that holds the project's ``examples``; a block marked
``text`` right after it must match what it printed, where ``...`` stands for anything. A block marked ``python`` is run
by the same Python. Blocks marked ``console`` are for reading only.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.platform import PENSTOCK, Platform
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SEVERAL_MACHINES = ROOT / "docs" / "several-machines.md"
"""It starts a platform of its own."""
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
RUN = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@dataclass
class Step:
    kind: str
    command: str
    line: int
    expected: str = ""


def steps(page: Path) -> list[Step]:
    text = page.read_text()
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        if block["kind"] in RUN:
            found.append(Step(block["kind"], block["text"], line))
        elif block["kind"] == "text" and found:
            found[-1].expected = block["text"]
    return found


@pytest.fixture(autouse=True)
def clean(platform: Platform) -> Iterator[None]:
    """A page that fails half-way leaves nothing to the next."""
    yield
    for endpoint in platform.json("online-endpoint", "list"):
        platform.cli("online-endpoint", "delete", "-n", endpoint["name"], "--yes")


@pytest.mark.parametrize("page", [p for p in PAGES if steps(p) and p != SEVERAL_MACHINES], ids=lambda page: page.stem)
def test_page(page: Path, platform: Platform, tmp_path: Path) -> None:
    run(page, platform, tmp_path, {"localhost:8080": f"localhost:{platform.gateway_port}"})


def test_several_machines(fresh_platform: Platform, tmp_path: Path) -> None:
    platform = fresh_platform
    ports = f"--gateway-port {platform.gateway_port} --api-port {platform.api_port}"
    addresses = {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in (18000, 8090)}
    try:
        run(SEVERAL_MACHINES, platform, tmp_path, {**addresses, "up --detach": f"up --detach {ports}"})
        assert platform.processes() == []
    finally:
        for envoy in psutil.process_iter(["cwd"]):
            if envoy.info["cwd"] == str(tmp_path / "edge"):
                envoy.kill()


def run(page: Path, platform: Platform, tmp_path: Path, here: Mapping[str, str]) -> None:
    """Run a page's steps; ``here``: what to write instead of what it says, since its ports may be taken."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    env = {
        **platform.env(),
        "PATH": f"{PENSTOCK.parent}{os.pathsep}{os.environ['PATH']}",
        "GATEWAY": f"localhost:{platform.gateway_port}",
        "COLUMNS": "120",
    }
    for step in steps(page):
        command = step.command
        for said, ours in here.items():
            command = command.replace(said, ours)
        done = subprocess.run(
            [*RUN[step.kind], command],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        where = f"{page.name}:{step.line}"
        output = done.stdout
        # A page that shows a command that fails says so by `|| true`.
        assert done.returncode == 0, f"{where}: {output}"
        if step.expected:
            for promised, ours in here.items():
                output = output.replace(ours, promised)
            matches = doctest.OutputChecker().check_output(
                step.expected, output, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            )
            assert matches, f"{where} promises:\n{step.expected}\nand this is printed:\n{output}"


def test_the_first_steps_of_the_readme(fresh_platform: Platform, tmp_path: Path) -> None:
    """From its `penstock up` to its `penstock down`; this environment is what `make setup` made."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    block = (ROOT / "README.md").read_text().partition("## First steps")[2].split("```")[1]
    setup, found, commands = block.partition("export PATH=$PWD/.venv/bin:$PATH\n")
    assert (setup.strip(), bool(found)) == ("make setup", True)
    assert "penstock up --detach\n" in commands
    ports = f"--gateway-port {fresh_platform.gateway_port} --api-port {fresh_platform.api_port}"
    done = subprocess.run(
        [*RUN["sh"], commands.replace("up --detach", f"up --detach {ports}")],
        cwd=tmp_path,
        env={**fresh_platform.env(), "PATH": f"{PENSTOCK.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[203.5" in done.stdout
    assert fresh_platform.processes() == []


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [p.name for p in PAGES if p.name != "README.md" and p.name not in index] == []
