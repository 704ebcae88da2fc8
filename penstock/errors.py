"""Everything the client, the manifest reader and the CLI raise.

::

    PenstockError                     `str()` is one sentence for a person; `hint`, `detail`
    ├── ManifestError                 a YAML file is wrong; `problems`, each with file:line:col
    ├── SourceError                   a file or folder to send cannot be read
    ├── UsageError                    arguments that contradict each other, or one that is missing
    ├── ScriptTrialError              a script that was tried in place failed
    ├── PlatformError                 a platform on this machine could not be started or stopped
    ├── InvokeError                   the endpoint answered other than 200; `status`, `body`
    ├── OperationFailedError          an accepted change failed later; `reason`, `detail` (the user's traceback)
    └── ApiError                      the platform refused a call; `reason`, `code`, `violations`, `resource`
        ├── InvalidArgumentError
        │   ├── InvalidTrafficError   shares that do not sum to 100 (or 0), or name nothing
        │   └── UnsupportedError      the backend cannot honour a setting
        ├── NotFoundError
        ├── AlreadyExistsError
        ├── EtagMismatchError         it changed since it was read
        ├── BeingDeletedError
        ├── DeploymentHasTrafficError
        ├── ResourceInUseError
        ├── ChecksumMismatchError     what arrived is not what was announced
        ├── UnauthenticatedError      no admin token, or a wrong one
        ├── ResourceExhaustedError    a full disk, a quota
        ├── DeadlineError             no answer in time; the change may go on
        ├── UnavailableError          nothing answers at the target
        └── InternalError             a defect of the platform

The reasons are the names of ``penstock.v1.ErrorReason`` without their prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class PenstockError(Exception):
    """The base of all of them. ``str(error)`` is the sentence; ``hint`` says what to do, ``detail`` what is behind."""

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.detail = detail


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; lines and columns count from 1. Column 0 means the whole line, line 0 the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line:col``, as compilers write it."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file, and where it is."""

    position: Position
    message: str

    def __str__(self) -> str:
        """``file:line:col: message``."""
        return f"{self.position}: {self.message}"


class ManifestError(PenstockError):
    """A YAML file cannot be taken; every mistake found is in ``problems``, in the order of the file."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)), hint=hint)


class SourceError(PenstockError):
    """A file or folder that was to be sent cannot be read."""


class UsageError(PenstockError):
    """Arguments contradict each other, or one is missing."""


class ScriptTrialError(PenstockError):
    """A scoring script that was tried in place failed."""


class PlatformError(PenstockError):
    """A platform on this machine could not be started, found or stopped."""


class InvokeError(PenstockError):
    """The endpoint answered with another status than 200. ``status`` is 0 when it could not be reached."""

    def __init__(self, message: str, *, status: int = 0, body: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.body = body


class OperationFailedError(PenstockError):
    """A change was accepted and could not be carried out. ``detail`` may hold the user's own traceback."""

    def __init__(self, message: str, *, reason: str = "", hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Violation:
    """One malformed field of a request, by its path, and what is wrong with it."""

    field: str
    description: str


class ApiError(PenstockError):
    """The platform refused a call."""

    reasons: ClassVar[tuple[str, ...]] = ()
    """The machine reasons this class stands for."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        hint: str = "",
        detail: str = "",
        resource: str = "",
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.code = code
        """The name of the gRPC status code, such as ``NOT_FOUND``."""
        self.reason = reason
        self.resource = resource
        self.violations = tuple(violations)


class InvalidArgumentError(ApiError):
    """One or more fields are malformed or out of range."""

    reasons = ("INVALID_ARGUMENT",)


class InvalidTrafficError(InvalidArgumentError):
    """The shares do not sum to 100 (or 0), or name a deployment that does not exist."""

    reasons = ("INVALID_TRAFFIC",)


class UnsupportedError(InvalidArgumentError):
    """The backend cannot honour a setting; the message says which and why."""

    reasons = ("UNSUPPORTED",)


class NotFoundError(ApiError):
    """There is no such resource; ``reason`` tells of which kind."""

    reasons = (
        "ENDPOINT_NOT_FOUND",
        "DEPLOYMENT_NOT_FOUND",
        "MODEL_NOT_FOUND",
        "ENVIRONMENT_NOT_FOUND",
        "ASSET_NOT_FOUND",
        "OPERATION_NOT_FOUND",
        "INSTANCE_NOT_FOUND",
    )


class AlreadyExistsError(ApiError):
    """The name is taken."""

    reasons = ("ALREADY_EXISTS",)


class EtagMismatchError(ApiError):
    """The resource changed since it was read."""

    reasons = ("ETAG_MISMATCH",)


class BeingDeletedError(ApiError):
    """The resource is on its way out."""

    reasons = ("BEING_DELETED",)


class DeploymentHasTrafficError(ApiError):
    """A deployment with live traffic cannot be deleted."""

    reasons = ("DEPLOYMENT_HAS_TRAFFIC",)


class ResourceInUseError(ApiError):
    """Another resource needs this one."""

    reasons = ("RESOURCE_IN_USE",)


class ChecksumMismatchError(ApiError):
    """What arrived is not what was announced."""

    reasons = ("CHECKSUM_MISMATCH",)


class UnauthenticatedError(ApiError):
    """No admin token, or a wrong one."""

    reasons = ("UNAUTHENTICATED",)


class ResourceExhaustedError(ApiError):
    """The platform's disk is full, or a quota is used up."""

    reasons = ("RESOURCE_EXHAUSTED",)


class DeadlineError(ApiError):
    """No answer came in time. What was asked for may still happen."""


class UnavailableError(ApiError):
    """Nothing answers at the target, or what answers cannot do so now."""

    reasons = ("UNAVAILABLE",)


class InternalError(ApiError):
    """A defect of the platform; its log holds more."""

    reasons = ("INTERNAL",)
