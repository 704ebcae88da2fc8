"""AssetService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from controlplane.api.convert.common import asset_id
from controlplane.api.convert.registry import asset_message, upload_header
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.usecases.assets import AssetUseCases
from penstock.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc


class AssetServicer(asset_service_pb2_grpc.AssetServiceServicer):
    """See ``protos/penstock/v1/asset_service.proto``."""

    def __init__(self, assets: AssetUseCases) -> None:
        self._assets = assets

    async def UploadAsset(
        self, request_iterator: AsyncIterator[asset_service_pb2.UploadAssetRequest], context: Any
    ) -> asset_pb2.Asset:
        pieces = aiter(request_iterator)
        first = await anext(pieces, None)
        if first is None or first.WhichOneof("piece") != "header":
            raise InvalidArgumentError(Violation("header", "must be the first message of an upload"))
        return asset_message(await self._assets.upload(upload_header(first.header), _chunks(pieces)))

    async def GetAsset(self, request: asset_service_pb2.GetAssetRequest, context: Any) -> asset_pb2.Asset:
        digest = asset_id("name", request.name)
        if not digest:
            raise InvalidArgumentError(Violation("name", "is required, as assets/sha256:HEX"))
        return asset_message(await self._assets.get(digest))


async def _chunks(pieces: AsyncIterator[asset_service_pb2.UploadAssetRequest]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if piece.WhichOneof("piece") != "chunk":
            raise InvalidArgumentError(Violation("chunk", "must be what every message after the first holds"))
        yield piece.chunk
