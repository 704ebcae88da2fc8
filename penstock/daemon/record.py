"""What a daemon's folder remembers of it: ``daemon.json``, replaced atomically at each step of its life."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """Written before the process is started (without ``pid``), after it was, and once it has ended."""

    argv: tuple[str, ...]
    cwd: str
    token: str
    """Also in the environment of the process and of what it starts."""
    boot: str
    pid: int = 0
    """0: about to be started. Whether it was is what the lock tells."""
    start: int = 0
    """In clock ticks since boot."""
    exit_code: int | None = None
    """Negative: the signal that killed it. None: unknown, or not ended."""
    swept: bool = False
    """It has ended, and whatever it had started was ended too."""


def load(path: Path) -> DaemonRecord | None:
    """The record, or None if there is none, or none that was written to its end (a power cut)."""
    try:
        content = json.loads(path.read_bytes())
        return DaemonRecord(**{**content, "argv": tuple(content["argv"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def save(path: Path, record: DaemonRecord) -> None:
    """Replace the record; a reader sees the old one or the new one."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(record)))
    draft.replace(path)
