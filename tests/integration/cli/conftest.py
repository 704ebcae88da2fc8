from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.cli.main import main
from penstock.retry import Retry
from tests.integration.cli.fake_platform import TOKEN, FakePlatform, socket_address


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path must be."""
    with tempfile.TemporaryDirectory(prefix="pst-") as name:
        yield Path(name)


@pytest.fixture
def platform(folder: Path) -> Iterator[FakePlatform]:
    fake = FakePlatform()
    server = fake.start(socket_address(folder))
    yield fake
    server.stop(None).wait()


@pytest.fixture
def target(platform: FakePlatform, folder: Path) -> str:
    return socket_address(folder)


QUICK = Retry(attempts=3, first_seconds=0.001, most_seconds=0.002)


@pytest.fixture
def client(target: str) -> Iterator[penstock.Client]:
    with penstock.Client(target, TOKEN, retry=QUICK) as made:
        yield made


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    target: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run the command line in this process, against the control plane in memory."""
    monkeypatch.setenv("PENSTOCK_TARGET", target)
    monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
    monkeypatch.setenv("PENSTOCK_HOME", str(folder / "home"))

    def run(*argv: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything a deployment needs, which is the working folder too."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    (tmp_path / "model.pkl").write_bytes(b"weights")
    (tmp_path / "conda.yml").write_text("dependencies:\n  - python=3.11\n")
    (tmp_path / "endpoint.yml").write_text("name: diabetes\nauth_mode: key\ntags: {team: a}\n")
    for name in ("blue", "green"):
        (tmp_path / f"{name}.yml").write_text(DEPLOYMENT.format(name=name))
    (tmp_path / "endpoint-2021.yml").write_text(ENDPOINT_2021)
    monkeypatch.chdir(tmp_path)
    return tmp_path


DEPLOYMENT = """\
name: {name}
endpoint_name: diabetes
model:
  path: model.pkl
code_configuration:
  code: src
  scoring_script: score.py
environment:
  conda_file: conda.yml
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04
instance_type: Standard_F2s_v2
instance_count: 1
"""

ENDPOINT_2021 = """\
$schema: https://azuremlsdk2.blob.core.windows.net/latest/endpoint.schema.json
name: diabetes
type: online
auth_mode: key
location: westeurope
traffic:
  blue: 100
deployments:
  - name: blue
    model:
      name: diabetes-model
      version: 1
      local_path: ./model.pkl
    code_configuration:
      code:
        local_path: ./src
      scoring_script: score.py
    environment:
      name: diabetes-env
      version: 1
      path: .
      conda_file: file:./conda.yml
      docker:
        image: mcr.microsoft.com/azureml/openmpi3.1.2-ubuntu18.04
    instance_type: Standard_F2s_v2
    scale_settings:
      scale_type: manual
      instance_count: 1
      min_instances: 1
      max_instances: 2
"""
