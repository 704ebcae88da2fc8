"""Refusals as ``google.rpc.Status``: the one place that knows how the domain's errors travel.

Every status carries an ErrorInfo with the domain ``penstock``, a reason of ``penstock.v1.ErrorReason`` and the request
id; a BadRequest with each malformed field; the hint as a LocalizedMessage; what is behind it as a DebugInfo.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from controlplane.domain.errors import (
    AlreadyExistsError,
    BeingDeletedError,
    ChecksumMismatchError,
    DeploymentHasTrafficError,
    ErrorReason,
    EtagMismatchError,
    GatewayNotReplacedError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    ResourceExhaustedError,
    ResourceInUseError,
    StoreError,
    UnauthenticatedError,
    Violation,
)
from controlplane.domain.operations import OperationError

DOMAIN = "penstock"
_CODES: tuple[tuple[type[PenstockError], grpc.StatusCode], ...] = (
    (InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (AlreadyExistsError, grpc.StatusCode.ALREADY_EXISTS),
    (EtagMismatchError, grpc.StatusCode.ABORTED),
    (BeingDeletedError, grpc.StatusCode.FAILED_PRECONDITION),
    (DeploymentHasTrafficError, grpc.StatusCode.FAILED_PRECONDITION),
    (ResourceInUseError, grpc.StatusCode.FAILED_PRECONDITION),
    (ChecksumMismatchError, grpc.StatusCode.DATA_LOSS),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (ResourceExhaustedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (GatewayNotReplacedError, grpc.StatusCode.FAILED_PRECONDITION),
    (StoreError, grpc.StatusCode.UNAVAILABLE),
)
DETAIL_MAX = 64 << 10
"""Characters of an operation's detail, its end: a log's last lines say most."""
MESSAGE_MAX = 1000
"""Characters of a message. A status travels in the trailers, and peers refuse more than 8 KiB of these."""
VIOLATIONS_BYTES = 3000


def code_of(error: PenstockError) -> grpc.StatusCode:
    """The gRPC code a refusal travels with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: PenstockError, request_id: str) -> Any:
    """A refusal as a ``google.rpc.Status``."""
    details: list[Any] = []
    if isinstance(error, InvalidArgumentError):
        details.append(_bad_request(error.violations))
    if error.hint:
        details.append(error_details_pb2.LocalizedMessage(locale="en", message=error.hint))
    about = {"request_id": request_id} | ({"resource": error.resource} if error.resource else {})
    return _status(code_of(error), str(error), error.reason, about, details)


def internal_status(request_id: str) -> Any:
    """A defect: what it was stays in the log, found there by the request id."""
    message = f"The platform failed on this request; its log says more under request id {request_id}."
    return _status(grpc.StatusCode.INTERNAL, message, ErrorReason.INTERNAL, {"request_id": request_id}, [])


def operation_status(error: OperationError) -> Any:
    """Why an operation failed, with the user's own traceback in a DebugInfo."""
    details = [error_details_pb2.DebugInfo(detail=error.detail[-DETAIL_MAX:])] if error.detail else []
    return _status(grpc.StatusCode.FAILED_PRECONDITION, error.message, error.reason, {}, details)


def _status(code: grpc.StatusCode, message: str, reason: str, about: dict[str, str], details: list[Any]) -> Any:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=about)
    packed = []
    for detail in (info, *details):
        holder = any_pb2.Any()
        holder.Pack(detail)
        packed.append(holder)
    return status_pb2.Status(code=code.value[0], message=_cut(message), details=packed)


def _bad_request(violations: Iterable[Violation]) -> Any:
    bad = error_details_pb2.BadRequest()
    for violation in violations:
        said = bad.field_violations.add(field=violation.field, description=_cut(violation.description))
        if bad.ByteSize() > VIOLATIONS_BYTES and len(bad.field_violations) > 1:
            bad.field_violations.remove(said)
            break
    return bad


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_MAX else text[:MESSAGE_MAX] + " ..."
