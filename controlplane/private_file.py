"""Files of a home that are the platform's alone: replaced whole, so that a crash leaves the old one or the new."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file (mode 0600): whoever reads it sees the old content or the new, also after a power cut.

    Raises:
        OSError: the disk is full, the folder is not there, ...
    """
    partial = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
