"""A file or a folder as a stream of bytes that is the same whenever its content is.

Uploads are addressed by their hash. So a folder's tar stream leaves out what changes without the content changing:
times, owners, the order in which a file system happens to list. It is produced as it is sent; nothing is written to
disk and no file is held in memory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from penstock.errors import SourceError
from penstock.ignore import FILES, Ignore

CHUNK_BYTES = 1 << 20
"""Within the 2 MiB the platform takes."""


class PackageKind(StrEnum):
    """What is packaged."""

    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Package:
    """What will be sent, measured."""

    path: Path
    kind: PackageKind
    sha256: str
    """64 hex digits, of all chunks together."""
    size_bytes: int

    @property
    def basename(self) -> str:
        """The file's or folder's own name."""
        return self.path.name

    def chunks(self) -> Iterator[bytes]:
        """The stream, in pieces of up to 1 MiB.

        Raises:
            SourceError: something cannot be read, or changed since it was measured.
        """
        digest = hashlib.sha256()
        for chunk in _chunks(self.path, self.kind):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.sha256:
            raise SourceError(f"{self.path} changed while it was sent", hint="try again once nothing writes to it")


def measure(path: Path) -> Package:
    """Read ``path`` through once, for its hash and size.

    Raises:
        SourceError: it is not there, cannot be read, or holds something that is neither file nor folder.
    """
    path = path.resolve()
    if not path.exists():
        raise SourceError(f"there is no file or folder {path}")
    kind = PackageKind.FOLDER if path.is_dir() else PackageKind.FILE
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(path, kind):
        digest.update(chunk)
        size += len(chunk)
    return Package(path, kind, digest.hexdigest(), size)


def _chunks(path: Path, kind: PackageKind) -> Iterator[bytes]:
    try:
        yield from _gathered(_tar(path) if kind is PackageKind.FOLDER else _content(path, path.stat().st_size))
    except OSError as error:
        raise SourceError(f"{error.filename or path} cannot be read: {error.strerror}") from None


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of exactly ``CHUNK_BYTES``, so that many small files don't become many messages."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= CHUNK_BYTES:
            yield bytes(pending[:CHUNK_BYTES])
            del pending[:CHUNK_BYTES]
    if pending:
        yield bytes(pending)


def _tar(root: Path) -> Iterator[bytes]:
    for name, path in _walk(root, "", _ignore(root), frozenset({root.resolve()})):
        info = tarfile.TarInfo(name)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield info.tobuf(tarfile.PAX_FORMAT)
        elif stat.S_ISREG(status.st_mode):
            info.size = status.st_size
            info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _content(path, status.st_size)
            yield b"\0" * (-status.st_size % tarfile.BLOCKSIZE)
        else:
            raise SourceError(f"{path} is neither a file nor a folder")
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _walk(folder: Path, prefix: str, ignore: Ignore, above: frozenset[Path]) -> Iterator[tuple[str, Path]]:
    """Every file and folder below, by name. Links are followed: what they point at is what a script would read."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path, relative = folder / name, prefix + name
        is_folder = path.is_dir()
        if ignore.matches(relative, folder=is_folder):
            continue
        if path.is_symlink() and not path.exists():
            raise SourceError(f"{path} is a link to nothing")
        yield relative, path
        if is_folder:
            real = path.resolve()
            if real in above:
                raise SourceError(f"{path} is a link to a folder it lies in")
            yield from _walk(path, relative + "/", ignore, above | {real})


def _ignore(root: Path) -> Ignore:
    for name in FILES:
        if (root / name).is_file():
            return Ignore((root / name).read_text(encoding="utf-8", errors="replace").splitlines())
    return Ignore()


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes: the tar header has promised them."""
    left = size
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, CHUNK_BYTES))):
            left -= len(piece)
            yield piece
    if left:
        raise SourceError(f"{path} became shorter while it was read", hint="try again once nothing writes to it")
