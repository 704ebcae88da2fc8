"""The scorer as a wheel, made from the one that is installed with us.

It goes into every environment beside the user's packages. It is pure Python, so a wheel is a zip of its files: made
here without a build backend and without a network, whether it is installed from a wheel or from a checkout.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

_DISTRIBUTION = "penstock-scorer"
_PACKAGE = "penstock_scorer"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: penstock\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True)
class ScorerSource:
    """The scorer's files and metadata."""

    package: Path
    """The folder ``penstock_scorer``."""
    metadata: str
    """The text of METADATA."""
    entry_points: str = ""
    name: str = _PACKAGE
    version: str = "0"

    @classmethod
    def installed(cls) -> ScorerSource:
        """The one that is installed with us, editable or not.

        Raises:
            FileNotFoundError: it is not installed.
        """
        try:
            distribution = importlib.metadata.distribution(_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError as error:
            raise FileNotFoundError(f"{_DISTRIBUTION} is not installed beside penstock") from error
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"{_DISTRIBUTION} is installed without its files")
        return cls(
            package=Path(spec.submodule_search_locations[0]),
            metadata=distribution.read_text("METADATA") or "",
            entry_points=distribution.read_text("entry_points.txt") or "",
            version=distribution.version,
        )

    @property
    def requirements(self) -> tuple[str, ...]:
        """What it depends on, as its metadata says."""
        return tuple(
            line.partition(":")[2].strip() for line in self.metadata.splitlines() if line.startswith("Requires-Dist:")
        )

    def needs_of(self, extra: str) -> tuple[str, ...]:
        """What it needs for this extra alone."""
        found = []
        for text in self.requirements:
            need = Requirement(text)
            if need.marker and need.marker.evaluate({"extra": extra}) and not need.marker.evaluate({"extra": ""}):
                need.marker = None
                found.append(str(need))
        return tuple(found)

    def files(self) -> dict[str, bytes]:
        """The contents of the wheel by name, but for its RECORD."""
        info = f"{self.name}-{self.version}.dist-info"
        found = {
            f"{self.name}/{path.relative_to(self.package).as_posix()}": path.read_bytes()
            for path in sorted(self.package.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        found[f"{info}/METADATA"] = self.metadata.encode()
        found[f"{info}/WHEEL"] = _WHEEL.encode()
        if self.entry_points:
            found[f"{info}/entry_points.txt"] = self.entry_points.encode()
        return found


def content_hash(files: dict[str, bytes]) -> str:
    """16 hex digits; other contents have others."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def wheel_of(source: ScorerSource, folder: Path) -> tuple[Path, str]:
    """The wheel below ``folder``, made if it is not there yet, and the hash of its contents.

    Raises:
        OSError: the disk is full, ...
    """
    files = source.files()
    digest = content_hash(files)
    path = folder / digest / f"{source.name}-{source.version}-py3-none-any.whl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{os.getpid()}.draft")
        _write(files, f"{source.name}-{source.version}.dist-info/RECORD", draft)
        draft.replace(path)
    return path, digest


def _write(files: dict[str, bytes], record: str, path: Path) -> None:
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}\n")
            _add(wheel, name, content)
        _add(wheel, record, ("".join(lines) + f"{record},,\n").encode())


def _add(wheel: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    wheel.writestr(entry, content, zipfile.ZIP_DEFLATED)
