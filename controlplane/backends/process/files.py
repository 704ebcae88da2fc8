"""Replacing small files so that whoever reads them, or comes after a crash, sees the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write ``path`` anew, readable by us alone. Several may do so at once; the last one wins.

    Raises:
        OSError: the disk is full, ...; the old one stays.
    """
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
