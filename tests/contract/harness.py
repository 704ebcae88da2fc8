"""What the contract suite needs of a backend beside the port: to make one, to call instances, and to hurt them."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from controlplane.backends.process.backend import ProcessBackend
from controlplane.domain.errors import ErrorReason, NotFoundError
from controlplane.domain.instances import InstanceObservation, InstanceState, InstanceTemplate, ModelFiles
from controlplane.domain.names import Versioned
from controlplane.domain.ports import AuthPolicy, Backend
from controlplane.domain.specs import Asset, AssetKind, EnvironmentSpec, ProbeSettings
from penstock.daemon import processes

SALT = "00" * 16
KEY = "the-right-key"

ECHO = """
import os

def init():
    print("init is done")

def run(data):
    print("got", data)
    return {"echo": data, "pid": os.getpid()}
"""


class RealClock:
    """The machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class FolderAssets:
    """Uploaded content that never was uploaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, files: dict[str, str] | str) -> Asset:
        digest = hashlib.sha256(json.dumps([name, files]).encode()).hexdigest()
        place = self._folder / digest / name
        if isinstance(files, str):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(files)
            place.chmod(0o444)
        else:
            for path, text in files.items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_text(text)
                (place / path).chmod(0o444)
        return Asset(digest, AssetKind.FILE if isinstance(files, str) else AssetKind.FOLDER, name, 1)

    def path(self, asset: Asset) -> Path:
        place = self._folder / asset.sha256 / asset.basename
        if not place.exists():
            raise NotFoundError(ErrorReason.ASSET_NOT_FOUND, f"there is no {asset.resource_name}")
        return place


class Harness(Protocol):
    """A backend under test."""

    assets: FolderAssets

    def make(self) -> Backend:
        """A backend, as a control plane makes it when it starts. Made again, it finds what the first one left."""

    def kill(self, observed: InstanceObservation) -> None:
        """Kill an instance, as a crash would."""

    def left(self) -> list[str]:
        """Whatever of any instance is still there: processes, sockets, folders."""


@dataclass
class ProcessHarness:
    """The process backend below ``home``."""

    home: Path
    assets: FolderAssets

    def make(self) -> ProcessBackend:
        return ProcessBackend(self.home, self.assets, RealClock(), environ=os.environ)

    def kill(self, observed: InstanceObservation) -> None:
        os.kill(observed.pid, signal.SIGKILL)

    def left(self) -> list[str]:
        place = str(self.home / "instances").encode()
        running = [
            f"process {each.pid}"
            for each in processes.everyone()
            if place in _read(f"/proc/{each.pid}/environ") and each.pid != os.getpid()
        ]
        folders = [self.home / "instances", self.home / "run"]
        return running + [str(path) for folder in folders if folder.exists() for path in folder.iterdir()]


def template(harness: Harness, script: str = ECHO, **changes: object) -> InstanceTemplate:
    made = InstanceTemplate(
        endpoint="house",
        deployment="blue",
        code=harness.assets.add("src", {"score.py": script}),
        scoring_script="score.py",
        environment=EnvironmentSpec(),
        readiness_probe=ProbeSettings(period_seconds=0.2),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def with_model(harness: Harness, name: str, files: dict[str, str] | str) -> ModelFiles:
    return ModelFiles(Versioned("prices", "3"), harness.assets.add(name, files))


def policy(*keys: str, endpoint: str = "house") -> AuthPolicy:
    digests = [hashlib.sha256(bytes.fromhex(SALT) + key.encode()).hexdigest() for key in keys or (KEY,)]
    return AuthPolicy(endpoint, "key", SALT, tuple((f"key{index}", digest) for index, digest in enumerate(digests)))


async def until(backend: Backend, instance: str, *states: InstanceState, seconds: float = 60.0) -> InstanceObservation:
    """Wait, woken by the backend's own signal, until an instance is in one of ``states``."""
    return await eventually(backend, instance, lambda seen: seen.state in states, seconds)


async def eventually(
    backend: Backend, instance: str, condition: Callable[[InstanceObservation], bool], seconds: float = 60.0
) -> InstanceObservation:
    changed = asyncio.Event()
    backend.on_change(lambda _: changed.set())
    seen = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                changed.clear()
                seen = (await backend.observe()).get(instance)
                if seen is not None and condition(seen):
                    return seen
                await changed.wait()
    except TimeoutError:
        raise AssertionError(f"waited in vain; it is {seen}") from None


async def score(observed: InstanceObservation, data: object, key: str = KEY) -> tuple[int, object]:
    """Call an instance over its socket."""
    reader, writer = await asyncio.open_unix_connection(observed.address.removeprefix("unix://"))
    body = json.dumps(data).encode()
    writer.write(
        b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(body.split(b"\r\n")[1::2])
    return int(head.split()[1]), json.loads(body or b"null")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
