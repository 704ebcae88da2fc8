"""Uploading models and code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from penstock.aio.transport import Transport
from penstock.package import Package, PackageKind
from penstock.v1.asset_pb2 import ASSET_KIND_FILE, ASSET_KIND_FOLDER, Asset
from penstock.v1.asset_service_pb2 import AssetHeader, GetAssetRequest, UploadAssetRequest

Sent = Callable[[int, int], None]
"""Told how many bytes of how many have been handed over."""


class Assets:
    """The uploaded content of a platform. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def upload(self, path: str | Path, *, progress: Sent | None = None) -> Asset:
        """Send a file or a folder, and return what it is stored as. Content that is there already is not sent again.

        A folder goes as a tar stream without what its ``.amlignore`` (or else ``.gitignore``) names.

        Raises:
            SourceError: something cannot be read, or changed meanwhile.
        """
        package = await self._transport.measure(Path(path))
        return await self._transport.send(self._transport.assets.UploadAsset, _pieces(package, progress))

    async def get(self, name: str) -> Asset:
        """One asset's description, by its resource name ``assets/sha256:HEX``."""
        return await self._transport.read(self._transport.assets.GetAsset, GetAssetRequest(name=name))


def _pieces(package: Package, progress: Sent | None) -> Iterator[UploadAssetRequest]:
    kind = ASSET_KIND_FOLDER if package.kind is PackageKind.FOLDER else ASSET_KIND_FILE
    yield UploadAssetRequest(
        header=AssetHeader(sha256=package.sha256, size_bytes=package.size_bytes, kind=kind, basename=package.basename)
    )
    sent = 0
    for chunk in package.chunks():
        yield UploadAssetRequest(chunk=chunk)
        sent += len(chunk)
        if progress is not None:
            progress(sent, package.size_bytes)
