"""Operations as ``google.longrunning.Operation``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.longrunning import operations_proto_pb2
from google.protobuf.empty_pb2 import Empty

from controlplane.api.convert.common import timestamp
from controlplane.api.convert.deployment import deployment_message
from controlplane.api.convert.endpoint import EndpointConverter
from controlplane.api.errors import operation_status
from controlplane.domain.operations import OperationRecord, Verb
from controlplane.usecases.results import Accepted, EndpointView
from penstock.v1 import deployment_pb2, endpoint_pb2, operation_pb2


@dataclass(frozen=True, slots=True)
class OperationConverter:
    """Packs the resource into the response of an operation that is done."""

    endpoints: EndpointConverter

    def message(self, accepted: Accepted) -> Any:
        """An operation; one that only validated has no name."""
        record = accepted.operation
        operation = operations_proto_pb2.Operation(name=f"operations/{record.id}" if record.id else "")
        operation.metadata.Pack(_metadata(record))
        if not record.done:
            return operation
        operation.done = True
        if record.error is not None:
            operation.error.CopyFrom(operation_status(record.error))
        else:
            operation.response.Pack(self._response(accepted))
        return operation

    def _response(self, accepted: Accepted) -> Any:
        record, result = accepted.operation, accepted.result
        if record.verb is Verb.DELETE:
            return Empty()
        if isinstance(result, EndpointView):
            return self.endpoints.message(result)
        if result is not None:
            return deployment_message(result)
        # Done well once, and the resource has been deleted since.
        kind = deployment_pb2.Deployment if "/deployments/" in record.target else endpoint_pb2.Endpoint
        return kind(name=record.target, uid=record.target_uid)


def _metadata(record: OperationRecord) -> operation_pb2.OperationMetadata:
    return operation_pb2.OperationMetadata(
        target=record.target,
        verb=record.verb.value,
        create_time=timestamp(record.created),
        end_time=timestamp(record.ended) if record.ended else None,
        progress=record.progress,
        generation=record.generation,
    )
