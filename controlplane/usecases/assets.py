"""Uploads: taken whole, once per content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.ports import Clock
from controlplane.domain.registry import AssetRecord
from controlplane.domain.specs import Asset
from controlplane.domain.uploads import CHUNK_MAX, UploadHeader, check_header
from controlplane.usecases.ports import Store
from controlplane.usecases.templates import missing_asset


class Incoming(Protocol):
    """An upload on its way to the disk."""

    async def write(self, chunk: bytes) -> None:
        """Take the next piece."""

    async def finish(self) -> None:
        """Check that all of it arrived, and put it in its place."""


class Blobs(Protocol):
    """Where content lies."""

    def has(self, asset: Asset) -> bool:
        """Whether the content is there."""

    def receive(self, header: UploadHeader) -> AbstractAsyncContextManager[Incoming]:
        """Take an upload."""


class AssetUseCases:
    """What users can do with uploads."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def get(self, sha256: str) -> AssetRecord:
        """One upload. Raises NotFoundError."""
        async with self._store.read() as transaction:
            record = await transaction.assets.get(sha256)
        if record is None:
            raise missing_asset(sha256)
        return record

    async def upload(self, header: UploadHeader, chunks: AsyncIterator[bytes]) -> AssetRecord:
        """Store what arrives; content that is there already is answered before any chunk is read.

        Raises:
            InvalidArgumentError: the header is malformed, a chunk too large, or a folder holds what is not taken.
            ChecksumMismatchError: what arrived is not what was announced.
            ResourceExhaustedError: the disk is full.
        """
        check_header(header)
        asset = header.asset
        if not self._blobs.has(asset):
            async with self._blobs.receive(header) as incoming:
                async for chunk in chunks:
                    if not 0 < len(chunk) <= CHUNK_MAX:
                        raise InvalidArgumentError(
                            Violation("chunk", f"has {len(chunk)} bytes, and 1 to {CHUNK_MAX} are taken")
                        )
                    await incoming.write(chunk)
                await incoming.finish()
        async with self._store.write() as transaction:
            return await transaction.assets.add(AssetRecord(asset, self._clock.now()))
