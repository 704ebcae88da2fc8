"""Uploaded content on disk, under ``blobs/sha256/ab/HEX/NAME``: there as a whole, or not at all.

An upload is streamed to a temporary folder beside its place, checked, unpacked, synced to disk, and then renamed:
after a power cut or a ``kill -9`` at any moment nothing half-made has the final name. What was left in ``incoming`` is
removed at the next start.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from controlplane.domain.errors import (
    ChecksumMismatchError,
    ErrorReason,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    Violation,
)
from controlplane.domain.specs import Asset, AssetKind
from controlplane.domain.uploads import UploadHeader
from controlplane.store.unpack import sync_folder, unpack

T = TypeVar("T")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SPARE_BYTES = 64 << 20
"""Left free on the disk for everything else, the database first."""


class BlobStore:
    """Content by its hash below one folder. Any number of uploads at a time, of the same content too."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "sha256"
        self._incoming = folder / "incoming"

    def open(self) -> None:
        """Make the folders, and remove what an earlier process left half-made."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._blobs, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, asset: Asset) -> Path:
        """Where the file or folder lies.

        Raises:
            NotFoundError: its files are gone.
        """
        path = self._place(asset) / asset.basename
        if not path.exists():
            raise NotFoundError(
                ErrorReason.ASSET_NOT_FOUND,
                f"The content of {asset.resource_name} ('{asset.basename}') is missing on this machine.",
                hint="Upload it again.",
                resource=asset.resource_name,
            )
        return path

    def has(self, asset: Asset) -> bool:
        """Whether the content is there."""
        return (self._place(asset) / asset.basename).exists()

    @asynccontextmanager
    async def receive(self, header: UploadHeader) -> AsyncIterator[Upload]:
        """Take an upload; whatever was not finished is gone when the block ends.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        with _clear_disk_errors():
            self._refuse_too_large(header)
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._incoming))
        try:
            with _clear_disk_errors(), (folder / "stream").open("wb", buffering=0) as stream:
                yield Upload(header, folder, stream, self._place(header.asset))
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def _place(self, asset: Asset) -> Path:
        return self._blobs / asset.sha256[:2] / asset.sha256

    def _refuse_too_large(self, header: UploadHeader) -> None:
        copies = 2 if header.kind is AssetKind.FOLDER else 1  # the stream, and what is unpacked from it
        if header.size_bytes * copies + _SPARE_BYTES > shutil.disk_usage(self._incoming).free:
            raise _full()


class Upload:
    """One upload on its way."""

    def __init__(self, header: UploadHeader, folder: Path, stream: BinaryIO, place: Path) -> None:
        self._header = header
        self._folder = folder
        self._stream = stream
        self._place = place
        self._digest = hashlib.sha256()
        self._size = 0

    async def write(self, chunk: bytes) -> None:
        """Take the next piece.

        Raises:
            ChecksumMismatchError: there is more than was announced.
            ResourceExhaustedError: the disk is full.
        """
        self._size += len(chunk)
        if self._size > self._header.size_bytes:
            raise ChecksumMismatchError(
                f"'{self._header.basename}' has more than the announced {self._header.size_bytes} bytes."
            )
        await _in_thread(lambda: self._append(chunk))

    async def finish(self) -> None:
        """Check that all of it arrived, and put it in its place.

        Raises:
            ChecksumMismatchError: it is not what was announced.
            InvalidArgumentError: the tar stream is damaged or holds what is not taken.
            ResourceExhaustedError: the disk is full.
        """
        if (self._size, self._digest.hexdigest()) != (self._header.size_bytes, self._header.sha256):
            raise ChecksumMismatchError(
                f"'{self._header.basename}' did not arrive as announced: {self._size} of {self._header.size_bytes} "
                f"bytes, sha256 {self._digest.hexdigest()} instead of {self._header.sha256}.",
                hint="Send it again; if it happens again, the file changes while it is read.",
            )
        await _in_thread(self._put_in_place)

    def _append(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._stream.write(view) :]

    def _put_in_place(self) -> None:
        os.fsync(self._stream.fileno())
        made = self._folder / "made"
        made.mkdir(mode=0o755)
        target = made / self._header.basename
        if self._header.kind is AssetKind.FILE:
            (self._folder / "stream").rename(target)
            target.chmod(0o444)
        else:
            unpack(self._folder / "stream", target)
        sync_folder(made)
        self._place.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            made.rename(self._place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return  # someone sent the same meanwhile
        sync_folder(self._place.parent)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` beside the loop, to its end also when the caller is cancelled: its folder is removed afterwards."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@contextmanager
def _clear_disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full() from error
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidArgumentError(Violation("chunk", "a path is longer than this machine can hold")) from error
        raise


def _full() -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "The disk that holds uploaded content is full; nothing of the upload was kept.",
        hint="Free some space under PENSTOCK_HOME, or point it to a larger disk, and send it again.",
    )
