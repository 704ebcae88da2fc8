"""The wheel, alone in a bare environment of every interpreter on this machine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

SCRIPT = """
import json, sys
def init(): print("python", sys.version_info[:2])
def run(data): return [json.loads(data), sys.version_info[1]]
"""
RAW = "from azureml.contrib.services.aml_request import rawhttp\ndef init(): pass\n@rawhttp\ndef run(request): pass"


def interpreters() -> dict[str, str]:
    """Minor version -> interpreter: on the path, and pyenv's."""
    found: dict[str, str] = {}
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    for path in sorted(candidate for root in roots if root.is_dir() for candidate in root.glob("3.*/bin/python3")):
        match = re.match(r"3\.(1[0-4])\.", path.parent.parent.name)
        if match:
            found.setdefault(match[1], str(path))
    for minor in range(10, 15):
        path_found = shutil.which(f"python3.{minor}")
        if path_found and ".pyenv/shims" not in path_found:
            found.setdefault(str(minor), path_found)
    return found


@pytest.mark.parametrize("minor", sorted(interpreters()))
def test_it_serves_in_a_bare_environment(minor: str, wheel: Path, tmp_path: Path, serve: Any) -> None:
    venv = tmp_path / "venv"
    subprocess.run(["uv", "venv", "-q", "--python", interpreters()[minor], str(venv)], check=True)
    python = str(venv / "bin" / "python")
    subprocess.run(["uv", "pip", "install", "-q", "--python", python, str(wheel)], check=True)
    server = serve(SCRIPT, python=python)
    assert json.loads(server.score('{"a": 1}').body) == [{"a": 1}, int(minor)]
    assert server.stop() == 0
    failed = serve(RAW, python=python, ready=False)
    assert failed.process.wait(20) == 3
    assert "penstock-scorer[rawhttp]" in json.loads(failed.failure_file.read_text())["message"]
