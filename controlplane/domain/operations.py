"""Operations: what a user waits for after a change was accepted, and the trail of who asked for what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What an operation does to its target."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class OperationError:
    """Why an operation failed: the condition's reason and sentence, and the user's own traceback if there is one."""

    reason: str
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """A change on its way: it ends when a report speaks of ``generation`` or a later one."""

    id: str
    target: str
    """The resource's name, ``endpoints/NAME`` or ``endpoints/NAME/deployments/NAME``."""
    target_uid: str
    verb: Verb
    generation: int
    created: datetime
    ended: datetime | None = None
    progress: str = ""
    """What is going on now, one line for a person."""
    error: OperationError | None = None

    @property
    def done(self) -> bool:
        """Whether it ended, well or not."""
        return self.ended is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known, and by which request."""

    actor: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what to which resource, and when. Never changed afterwards."""

    at: datetime
    actor: str
    verb: str
    """A :class:`Verb`'s value, ``list_keys`` or ``regenerate_key``."""
    target: str
    request_id: str
    generation: int = 0
