"""What several resources' messages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.domain.checks import Mistakes
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import LATEST, Versioned, check_registered_name, check_short_name, check_version, parse
from controlplane.domain.status import Condition, ConditionStatus, ProvisioningState
from penstock.v1 import common_pb2

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

STATES: Mapping[ProvisioningState, Any] = {
    state: common_pb2.ProvisioningState.Value(f"PROVISIONING_STATE_{state.name}") for state in ProvisioningState
}
_STATUSES: Mapping[ConditionStatus, Any] = {
    status: common_pb2.ConditionStatus.Value(f"CONDITION_STATUS_{status.name}") for status in ConditionStatus
}


def with_short_name(field: str, name: str, read: Callable[[], T]) -> T:
    """What ``read`` gives, if the name of an endpoint or a deployment is well-formed, too.

    Raises:
        InvalidArgumentError: with the mistakes of both.
    """
    try:
        check_short_name(field, name)
    except InvalidArgumentError as bad_name:
        try:
            read()
        except InvalidArgumentError as bad_content:
            raise InvalidArgumentError(*bad_name.violations, *bad_content.violations) from None
        raise
    return read()


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def conditions(found: Iterable[Condition]) -> list[common_pb2.Condition]:
    """Conditions as messages."""
    return [
        common_pb2.Condition(
            type=condition.type.value,
            status=_STATUSES[condition.status],
            reason=condition.reason,
            message=condition.message,
            detail=condition.detail,
            last_transition_time=timestamp(condition.last_transition) if condition.last_transition else None,
        )
        for condition in found
    ]


def member(field: str, value: int, by_number: Mapping[Any, E], default: E) -> E:
    """The domain's word for an enum's number; 0 means ``default``.

    Raises:
        InvalidArgumentError: the number is none of the enum's.
    """
    if value == 0:
        return default
    if value not in by_number:
        raise InvalidArgumentError(Violation(field, f"has the unknown value {value}"))
    return by_number[value]


def asset_id(field: str, name: str) -> str:
    """The digest in ``assets/sha256:HEX``; empty for an empty name.

    Raises:
        InvalidArgumentError: the name has another form.
    """
    if not name:
        return ""
    (identity,) = parse("assets/{}", field, name)
    algorithm, _, digest = identity.partition(":")
    if algorithm != "sha256" or not digest:
        raise InvalidArgumentError(Violation(field, f"'{name}' does not have the form assets/sha256:HEX"))
    return digest


def asset_name(digest: str) -> str:
    """``assets/sha256:HEX``; empty for an empty digest."""
    return f"assets/sha256:{digest}" if digest else ""


def versioned(kind: str, field: str, name: str) -> Versioned:
    """A name such as ``models/NAME/versions/VERSION``, ``latest`` included.

    Raises:
        InvalidArgumentError: the name has another form.
    """
    parsed = Versioned(*parse(f"{kind}/{{}}/versions/{{}}", field, name))
    mistakes = Mistakes()
    mistakes.gather(lambda: check_registered_name(field, parsed.name))
    if parsed.version != LATEST:
        mistakes.gather(lambda: check_version(field, parsed.version))
    mistakes.refuse()
    return parsed


def versioned_name(kind: str, name: Versioned) -> str:
    """``models/NAME/versions/VERSION`` or the like."""
    return f"{kind}/{name.name}/versions/{name.version}"
