"""What the gateways were told last, on disk: with it one that starts while the control plane is away serves at once.

A file of changes, each appended with one write before anybody is told of it, so that ``kill -9`` loses nothing; it is
written anew when half of it is outdated. It is not synced: after a power cut the instances are gone with it. What was
only half written (a full disk) is found out by its end, and ends the reading there.

It holds what Envoy's memory holds: digests of keys, and the private key of the certificate. Mode 0600, and what is a
secret (SDS) is sealed besides, or left out where nothing is there to seal it with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Protocol

import structlog

from gateway.snapshot import Change, DanglingReferenceError, Key, Resource, ResourceType, Snapshot

_HEADER = b"penstock gateway snapshot 1\n"
_END = b"=\n"
"""Behind each change: what is not followed by it was not written to its end."""
_REWRITE_BYTES = 1 << 20
"""No rewriting below this."""
_RETRY_SECONDS = 10.0
_SECRET = frozenset({ResourceType.SECRET})
_log = structlog.get_logger(__name__)


class Seal(Protocol):
    """Encrypts what must not lie on a disk in clear."""

    def close(self, content: bytes) -> bytes:
        """``content``, encrypted. Raises OSError when it cannot be."""

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises ValueError when it cannot be opened."""


class Journal:
    """Keeps ``path`` equal to a snapshot that changes."""

    def __init__(self, path: Path, clock: Callable[[], float], seal: Seal | None = None) -> None:
        """``clock`` is monotonic seconds. Without ``seal`` secrets are left out."""
        self._path = path
        self._clock = clock
        self._seal = seal
        self._file: int | None = None
        self._base_bytes = 0
        self._appended_bytes = 0
        self._failed_at = float("-inf")

    def start(self, snapshot: Snapshot) -> None:
        """Replace the file by all of ``snapshot``; from now on :meth:`record` appends."""
        self._rewrite(snapshot)

    def record(self, snapshot: Snapshot, changed: Iterable[Key]) -> None:
        """Note what ``changed``. A disk that is full costs the snapshot, never the change."""
        if self._file is None:
            if self._clock() - self._failed_at >= _RETRY_SECONDS:
                self._rewrite(snapshot)
            return
        try:
            content = b"".join(self._entry(snapshot, key) for key in changed) + _END
            written = os.write(self._file, content)
        except OSError as error:
            self._give_up(error)
            return
        if written < len(content):
            self._give_up(OSError(0, "the disk is full"))
            return
        self._appended_bytes += written
        if self._appended_bytes > max(self._base_bytes, _REWRITE_BYTES):
            self._rewrite(snapshot)

    def close(self) -> None:
        """Append no more; the file stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _rewrite(self, snapshot: Snapshot) -> None:
        self.close()
        partial = self._path.with_name(f"{self._path.name}.new")
        entries = (self._entry(snapshot, (kind, name)) for kind in ResourceType for name in snapshot.resources(kind))
        try:
            content = b"".join((_HEADER, *entries, _END))
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            partial.replace(self._path)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            self._give_up(error)
            return
        self._base_bytes, self._appended_bytes = len(content), 0

    def _entry(self, snapshot: Snapshot, key: Key) -> bytes:
        resource = snapshot.get(key)
        if resource is None:
            return f"- {key[0].name} {key[1]}\n".encode()
        body = resource.body
        if resource.type in _SECRET:
            if self._seal is None:
                return b""
            body = self._seal.close(body)
        refs = " ".join(f"{kind.name}:{name}" for kind, name in resource.refs)
        head = f"+ {resource.type.name} {resource.name} {resource.version} {len(body)} {refs}\n"
        return b"".join((head.encode(), body, b"\n"))

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._failed_at = self._clock()
        _log.warning("the gateway's snapshot cannot be written, and will be tried again", reason=str(error))


def load(path: Path, seal: Seal | None = None) -> Snapshot | None:
    """The state in ``path``; None when there is none, or none that can be read. ``seal`` as that of its writer."""
    resources: dict[Key, Resource] = {}
    try:
        with path.open("rb") as file:
            if file.readline() != _HEADER:
                return None
            while _read_change(file, resources, seal):
                pass
    except OSError:
        return None
    snapshot = Snapshot()
    try:
        snapshot.apply(Change(upserts=tuple(resources.values())))
    except DanglingReferenceError:
        return None
    return snapshot if resources else None


def _read_change(file: BufferedReader, resources: dict[Key, Resource], seal: Seal | None) -> bool:
    """Add one change to ``resources``; False at the end, or at what was not written to its end."""
    upserts: dict[Key, Resource] = {}
    removals: list[Key] = []
    try:
        while (line := file.readline()) != _END:
            sign, kind, name, *rest = line.decode().split()
            key = (ResourceType[kind], name)
            if sign == "-":
                removals.append(key)
                continue
            version, size, *refs = rest
            body = file.read(int(size) + 1)[:-1]
            if key[0] in _SECRET:
                if seal is None:
                    continue
                body = seal.open(body)
            pairs = (ref.partition(":") for ref in refs)
            resource = Resource.of(key[0], name, body, tuple((ResourceType[r], n) for r, _, n in pairs))
            if resource.version != version:
                return False
            upserts[key] = resource
    except (ValueError, KeyError):  # the end of the file is an empty line, and no entry
        return False
    for key in removals:
        resources.pop(key, None)
    resources.update(upserts)
    return True
