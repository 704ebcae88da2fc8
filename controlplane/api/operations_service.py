"""google.longrunning.Operations."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from typing import Any

import grpc
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from google.protobuf.empty_pb2 import Empty

from controlplane.api.convert.operation import OperationConverter
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import parse
from controlplane.usecases.operations import OperationUseCases
from controlplane.usecases.paging import Query


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # Google's has no types
    """Operations are waited for by events; they cannot be cancelled, because a wish can be replaced by another."""

    def __init__(self, operations: OperationUseCases, convert: OperationConverter) -> None:
        self._operations = operations
        self._convert = convert

    async def GetOperation(self, request: Any, context: Any) -> Any:
        return self._convert.message(await self._operations.get(_id(request.name)))

    async def ListOperations(self, request: Any, context: Any) -> Any:
        if request.name not in ("", "operations"):
            raise InvalidArgumentError(
                Violation("name", f"is '{request.name}', and operations stand under nothing: leave it out"),
                hint='The filter target = "endpoints/NAME" finds those of one resource.',
            )
        page = await self._operations.list(Query(request.name, request.filter, request.page_size, request.page_token))
        return operations_proto_pb2.ListOperationsResponse(
            operations=[self._convert.message(accepted) for accepted in page.items],
            next_page_token=page.next_token,
        )

    async def WaitOperation(self, request: Any, context: Any) -> Any:
        seconds = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else None
        return self._convert.message(await self._operations.wait(_id(request.name), seconds))

    async def DeleteOperation(self, request: Any, context: Any) -> Empty:
        await self._operations.delete(_id(request.name))
        return Empty()

    async def CancelOperation(self, request: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            "Operations cannot be cancelled: ask for what you want instead (update it back, or delete it), and the "
            "operation ends.",
        )


def _id(name: str) -> str:
    return parse("operations/{}", "name", name)[0]
