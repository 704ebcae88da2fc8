"""The servers compared, each in an environment of its own: what to install, how to start it, what to send.

Every one serves the regression of ``score.py`` from one worker process where it can, with access logs and
telemetry off. What a peer needs beyond this table is the small program beside it, which runs in its environment.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENVIRONMENTS = ROOT / ".work" / "peers"
ROW = [float(i) for i in range(10)]


class NotInstalledError(Exception):
    """The peer cannot be installed here; the message is the installer's last line."""


@dataclass(frozen=True)
class Peer:
    """One server.

    ``command`` is run in the folder of this file; its first word is a program of the peer's environment, ``{port}`` and
    ``{spare}`` become free ports.
    """

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    path: str
    body: object = field(default_factory=lambda: {"data": [ROW]})

    @property
    def bin(self) -> Path:
        """The programs of its environment."""
        return ENVIRONMENTS / self.name.replace(" ", "-") / "bin"

    @property
    def payload(self) -> bytes:
        """The request's body."""
        return json.dumps(self.body).encode()

    def arguments(self, port: int, spare: int) -> list[str]:
        """The command with its ports."""
        program, *rest = (word.format(port=port, spare=spare) for word in self.command)
        return [str(self.bin / program), *rest]

    def install(self, uv: str, python: str) -> str:
        """Make its environment, unless it is there already; returns the first package's version.

        Raises:
            NotInstalledError: it does not install.
        """
        home, wanted = self.bin.parent, "\n".join((python, *self.packages))
        done = home / "complete"
        if not done.is_file() or done.read_text() != wanted:
            _run([uv, "venv", "--quiet", "--clear", "--python", python, str(home)])
            _run([uv, "pip", "install", "--quiet", "--python", str(home / "bin/python"), *self.packages])
            _run([str(home / "bin/python"), "-m", "compileall", "-q", str(home / "lib")], check=False)
            done.write_text(wanted)
        name = "penstock-scorer" if self.packages[0] == "-e" else self.packages[0].partition("[")[0]
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        return _run([str(home / "bin/python"), "-c", code]).strip()


def _run(command: list[str], *, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise NotInstalledError(lines[-1].strip())
    return done.stdout


# A call of `run` costs 72 to 77 us with 1.5, 1.7 and 1.8, as when the goals were set, and 160 us with 1.9: nothing that
# a server does, and it would hide what servers cost.
SKLEARN = "scikit-learn==1.8.0"
TENSOR = {"name": "x", "shape": [1, 10], "datatype": "FP64", "data": ROW}
_OURS = ("-e", str(ROOT / "scorer"), SKLEARN)


def ours(script: str, path: str = "/score", body: object = None) -> Peer:
    """Penstock's scorer with a script of this folder."""
    command = ("penstock-scorer", "--entry_script", script, "--port", "{port}")
    return Peer("penstock", _OURS, command, path, {"data": [ROW]} if body is None else body)


PENSTOCK = ours("score.py")
AZUREML = "azureml-inference-server-http"
PEERS = (
    PENSTOCK,
    Peer(
        AZUREML,
        (AZUREML, SKLEARN),
        ("azmlinfsrv", "--entry_script", "score.py", "--port", "{port}", "--health_port", "{port}"),
        "/score",
    ),
    Peer(
        "mlserver",
        ("mlserver", SKLEARN),
        ("python", "serve_mlserver.py", "{port}", "{spare}"),
        "/v2/models/model/infer",
        {"inputs": [TENSOR]},
    ),
    Peer(
        "kserve",
        ("kserve", SKLEARN),
        ("python", "serve_kserve.py", "{port}"),
        "/v1/models/model:predict",
        {"instances": [ROW]},
    ),
    Peer("litserve", ("litserve", SKLEARN), ("python", "serve_litserve.py", "{port}"), "/predict"),
    Peer(
        "bentoml",
        ("bentoml", SKLEARN),
        ("bentoml", "serve", "serve_bentoml:Regression", "--host", "127.0.0.1", "--port", "{port}"),
        "/predict",
    ),
    Peer("ray serve", ("ray[serve]", SKLEARN), ("python", "serve_ray.py", "{port}"), "/predict"),
)
"""In the order of the table."""
