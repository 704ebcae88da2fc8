"""Unpacks a folder that came as a tar stream from whoever: only folders and plain files, only below the target.

Written out instead of ``tarfile``'s own extraction, which keeps owners, modes and links that nobody here wants.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.uploads import check_member

MEMBERS_MAX = 200_000


def unpack(stream: Path, target: Path) -> None:
    """Make the folder ``target`` from the tar file ``stream``, every file synced to disk.

    Folders get the mode 0755, files 0444, or 0555 where their owner could execute them: instances share them.

    Raises:
        InvalidArgumentError: the stream is damaged, or holds a link, a device, a path that leads out of the folder,
            the same path twice, or more than 200,000 members.
    """
    target.mkdir(mode=0o755)
    try:
        with tarfile.open(stream, mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= MEMBERS_MAX:
                    raise _refusal(f"it holds more than {MEMBERS_MAX} files and folders")
                _unpack_member(archive, member, target)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise _refusal(f"it is no whole tar stream ({error})") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder, and in those below it, survive a power cut."""
    for inner, _, _ in os.walk(folder):
        descriptor = os.open(inner, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / check_member(member.name)
    try:
        if member.isdir():
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        elif member.isreg() and not member.issparse():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _write(archive, member, path)
        else:
            raise _refusal(f"'{member.name}' is neither a plain file nor a folder")
    except (FileExistsError, NotADirectoryError) as error:
        raise _refusal(f"it holds '{member.name}' twice, or once as a file and once as a folder") from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise _refusal(f"'{member.name}' has no content")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o555 if member.mode & 0o100 else 0o444)
    with source, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


def _refusal(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(Violation("chunk", f"the folder cannot be taken: {what}"))
