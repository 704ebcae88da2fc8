"""The place where Envoys find their control plane: one path, which a successor takes over without a gap.

A server makes its socket beside that path and moves it there, so there is never a moment at which the path leads
nowhere, and a server that ends late removes nobody's socket but its own. Who finds another's socket in its place knows
that it was succeeded.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode."""


def draft(path: Path) -> Path:
    """Where this process makes the socket that is to stand at ``path``."""
    return path.with_suffix(f".{os.getpid():x}")


def place(made: Path, path: Path, *, only_vacant: bool = False) -> bool:
    """Move ``made`` to ``path``; tells whether it did. ``only_vacant``: not where somebody answers already."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Else one that looks for a vacancy could take a place that was filled a moment after it looked.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if only_vacant and answers(path):
            return False
        made.replace(path)
        return True
    finally:
        os.close(lock)


def answers(path: Path) -> bool:
    """Whether somebody listens at ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def identity(path: Path) -> Identity | None:
    """Which socket stands at ``path`` now; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
