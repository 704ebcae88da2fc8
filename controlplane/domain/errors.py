"""Why a call is refused, one class per kind of failure.

::

    PenstockError
    ├── InvalidArgumentError      fields are malformed; `violations` names each
    │   ├── InvalidTrafficError   weights that do not sum to 100, or name nothing
    │   └── UnsupportedError      the backend cannot honour a setting
    ├── NotFoundError
    ├── AlreadyExistsError
    ├── EtagMismatchError
    ├── BeingDeletedError
    ├── DeploymentHasTrafficError
    ├── ResourceInUseError
    ├── ChecksumMismatchError
    ├── UnauthenticatedError
    ├── ResourceExhaustedError    a full disk, a quota
    ├── GatewayNotReplacedError   what served goes on serving
    └── StoreError                the database is locked, damaged or too new

The message is one sentence for a person, the hint says what to do about it, the reason is for machines and has the
names of ``penstock.v1.ErrorReason``. Transports map the classes to their own codes; no code of theirs appears here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class ErrorReason(StrEnum):
    """Machine-readable reasons; the values of ``penstock.v1.ErrorReason`` without their prefix."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    DEPLOYMENT_NOT_FOUND = "DEPLOYMENT_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    ENVIRONMENT_NOT_FOUND = "ENVIRONMENT_NOT_FOUND"
    ASSET_NOT_FOUND = "ASSET_NOT_FOUND"
    OPERATION_NOT_FOUND = "OPERATION_NOT_FOUND"
    INSTANCE_NOT_FOUND = "INSTANCE_NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    INVALID_TRAFFIC = "INVALID_TRAFFIC"
    DEPLOYMENT_HAS_TRAFFIC = "DEPLOYMENT_HAS_TRAFFIC"
    RESOURCE_IN_USE = "RESOURCE_IN_USE"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNSUPPORTED = "UNSUPPORTED"
    BEING_DELETED = "BEING_DELETED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Violation:
    """One malformed field: its path, such as ``request_settings.request_timeout_ms``, and what is wrong with it."""

    field: str
    description: str


class PenstockError(Exception):
    """A refusal. ``str(error)`` is the sentence for the user."""

    reason: ClassVar[ErrorReason] = ErrorReason.INTERNAL

    def __init__(self, message: str, *, hint: str = "", resource: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.resource = resource
        """The resource name the refusal is about, if there is one."""


class InvalidArgumentError(PenstockError):
    """One or more fields are malformed or out of range."""

    reason = ErrorReason.INVALID_ARGUMENT

    def __init__(self, *violations: Violation, hint: str = "", resource: str = "") -> None:
        super().__init__(
            "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations),
            hint=hint,
            resource=resource,
        )
        self.violations = violations


class InvalidTrafficError(InvalidArgumentError):
    """The traffic does not sum to 100 or 0, or names a deployment that does not exist."""

    reason = ErrorReason.INVALID_TRAFFIC


class UnsupportedError(InvalidArgumentError):
    """The backend cannot honour a setting; ignoring it would be worse than refusing."""

    reason = ErrorReason.UNSUPPORTED


class NotFoundError(PenstockError):
    """There is no such resource. ``reason`` tells of which kind."""

    def __init__(self, reason: ErrorReason, message: str, *, hint: str = "", resource: str = "") -> None:
        super().__init__(message, hint=hint, resource=resource)
        self.reason = reason  # type: ignore[misc]  # the one class whose reason differs by instance


class AlreadyExistsError(PenstockError):
    """The name is taken."""

    reason = ErrorReason.ALREADY_EXISTS


class EtagMismatchError(PenstockError):
    """The resource changed since it was read."""

    reason = ErrorReason.ETAG_MISMATCH


class BeingDeletedError(PenstockError):
    """The resource is on its way out and takes no more changes."""

    reason = ErrorReason.BEING_DELETED


class DeploymentHasTrafficError(PenstockError):
    """A deployment with live traffic cannot be deleted."""

    reason = ErrorReason.DEPLOYMENT_HAS_TRAFFIC


class ResourceInUseError(PenstockError):
    """Another resource needs this one."""

    reason = ErrorReason.RESOURCE_IN_USE


class ChecksumMismatchError(PenstockError):
    """What arrived is not what was announced."""

    reason = ErrorReason.CHECKSUM_MISMATCH


class UnauthenticatedError(PenstockError):
    """No credential, or a wrong one."""

    reason = ErrorReason.UNAUTHENTICATED


class ResourceExhaustedError(PenstockError):
    """The disk is full, or a quota is used up."""

    reason = ErrorReason.RESOURCE_EXHAUSTED


class GatewayNotReplacedError(PenstockError):
    """A new gateway could not take over, or a former restart is not through; what served goes on serving."""

    reason = ErrorReason.UNAVAILABLE


class StoreError(PenstockError):
    """The database cannot be used: it is locked by another process, damaged, or written by a newer Penstock."""

    reason = ErrorReason.UNAVAILABLE
