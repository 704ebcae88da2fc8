"""What an upload announces, what identifies its content, and what a folder's tar stream may hold.

Content is identified by its bytes *and* its name and kind: the same bytes uploaded as ``model.pkl`` and as
``model_v2.pkl`` are two assets, because a script opens its model by that name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.specs import Asset, AssetKind

BASENAME_MAX = 255
CHUNK_MAX = 2 << 20
"""Bytes of one chunk, at most."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What a client says is coming."""

    sha256: str
    """Lower-case hex, of all chunks together."""
    size_bytes: int
    kind: AssetKind
    basename: str

    @property
    def asset(self) -> Asset:
        """The asset it will be."""
        manifest = f"{self.kind.value}\n{self.basename}\n{self.sha256}\n"
        identity = hashlib.sha256(manifest.encode()).hexdigest()
        return Asset(identity, self.kind, self.basename, self.size_bytes)


def check_header(header: UploadHeader) -> None:
    """Accept what is announced.

    Raises:
        InvalidArgumentError: with one violation per mistake.
    """
    violations = []
    if not _SHA256.fullmatch(header.sha256):
        violations.append(Violation("header.sha256", "must be 64 lower-case hex digits"))
    if header.size_bytes < 0:
        violations.append(Violation("header.size_bytes", f"is {header.size_bytes}, and cannot be negative"))
    name = header.basename
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name.encode()) > BASENAME_MAX:
        violations.append(
            Violation("header.basename", f"'{name}' is no file name: 1 to {BASENAME_MAX} bytes without a slash")
        )
    if violations:
        raise InvalidArgumentError(*violations)


def check_member(name: str) -> PurePosixPath:
    """The path of a member of a folder, relative to the folder.

    Raises:
        InvalidArgumentError: it leads out of the folder, or no file system could hold it.
    """
    path = PurePosixPath(name)
    parts = path.parts
    if path.is_absolute() or ".." in parts or "\0" in name or any(len(p.encode()) > BASENAME_MAX for p in parts):
        raise InvalidArgumentError(
            Violation("chunk", f"the folder holds '{name}', and only relative paths that stay inside it are taken")
        )
    return path
