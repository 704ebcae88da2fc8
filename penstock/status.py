"""google.rpc.Status into exceptions: the one place that knows how failures travel.

Shared by the blocking and the asyncio client, whose transports raise two kinds of ``grpc.RpcError`` with the same
accessors.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from penstock import errors
from penstock.errors import ApiError, OperationFailedError, Violation

_DETAILS_KEY = "grpc-status-details-bin"
_BY_REASON: dict[str, type[ApiError]] = {
    reason: cls
    for cls in (getattr(errors, name) for name in dir(errors) if name.endswith("Error"))
    if isinstance(cls, type) and issubclass(cls, ApiError)
    for reason in cls.reasons
}
_BY_CODE: dict[grpc.StatusCode, type[ApiError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExistsError,
    grpc.StatusCode.ABORTED: errors.EtagMismatchError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhaustedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.INTERNAL: errors.InternalError,
}


def from_rpc(error: grpc.RpcError, target: str) -> ApiError:
    """The exception for a failed call to ``target``."""
    call: Any = error  # every RpcError a call raises is a call, too; the types don't say so
    code: grpc.StatusCode = call.code()
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return _build(_parts(status_pb2.Status.FromString(value)), code)
    if code is grpc.StatusCode.UNAVAILABLE:
        said = call.details() or ""
        return errors.UnavailableError(
            f"nothing answers at {target}",
            code=code.name,
            hint="is the platform running? `penstock up` starts one, and PENSTOCK_TARGET names another",
            detail="" if "Connection refused" in said else said,  # which says nothing more
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineError(f"{target} did not answer in time", code=code.name)
    parts = _Parts(call.details() or f"the call failed: {code.name}")
    if code is grpc.StatusCode.UNAUTHENTICATED:
        parts.hint = "the admin token is in admin_token under PENSTOCK_HOME; PENSTOCK_TOKEN overrides it"
    return _build(parts, code)


def from_operation(status: Any) -> OperationFailedError:
    """The exception for an operation that ended with ``status`` (a google.rpc.Status)."""
    parts = _parts(status)
    return OperationFailedError(parts.message, reason=parts.reason, hint=parts.hint, detail=parts.detail)


class _Parts:
    """What a status carries, taken apart."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.reason = ""
        self.hint = ""
        self.detail = ""
        self.resource = ""
        self.violations: list[Violation] = []


def _parts(status: Any) -> _Parts:
    parts = _Parts(status.message)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    text, debug = error_details_pb2.LocalizedMessage(), error_details_pb2.DebugInfo()
    help_, resource = error_details_pb2.Help(), error_details_pb2.ResourceInfo()
    for detail in status.details:
        if detail.Unpack(info):
            parts.reason = info.reason
            parts.hint = info.metadata.get("hint", parts.hint)
            parts.resource = info.metadata.get("resource", parts.resource)
        elif detail.Unpack(bad):
            parts.violations = [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(text):
            parts.hint = text.message if text.message != parts.message else parts.hint
        elif detail.Unpack(help_):
            parts.hint = parts.hint or "; ".join(link.description for link in help_.links)
        elif detail.Unpack(resource):
            parts.resource = resource.resource_name
        elif detail.Unpack(debug):
            parts.detail = debug.detail or "\n".join(debug.stack_entries)
    return parts


def _build(parts: _Parts, code: grpc.StatusCode) -> ApiError:
    cls = _BY_REASON.get(parts.reason) or _BY_CODE.get(code, ApiError)
    return cls(
        parts.message or code.name,
        code=code.name,
        reason=parts.reason,
        hint=parts.hint,
        detail=parts.detail,
        resource=parts.resource,
        violations=parts.violations,
    )
