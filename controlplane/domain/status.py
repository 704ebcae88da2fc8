"""Observed state: conditions, and how they roll up to one state and one line a user understands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class ProvisioningState(StrEnum):
    """Where a resource is on its way from desired to observed; the words of the hosted service."""

    CREATING = "Creating"
    UPDATING = "Updating"
    SCALING = "Scaling"
    DELETING = "Deleting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """What a condition is about."""

    ENVIRONMENT_READY = "EnvironmentReady"
    """The deployment's environment is built. The message names any difference from what was asked for."""
    INSTANCES_READY = "InstancesReady"
    """As many instances of the present template answer as are wanted."""
    ROUTE_PROGRAMMED = "RouteProgrammed"
    """Every gateway has acknowledged the endpoint's present routes."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One observed fact. ``message`` is one sentence; ``detail`` may hold a traceback or the end of a build log."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""
    detail: str = ""
    last_transition: datetime | None = None

    def since(self, previous: Iterable[Condition], now: datetime) -> Condition:
        """This condition with its transition time: kept from ``previous`` while status and reason are the same."""
        for old in previous:
            if old.type == self.type and (old.status, old.reason) == (self.status, self.reason):
                return replace(self, last_transition=old.last_transition or now)
        return replace(self, last_transition=now)


def status_line(state: ProvisioningState, conditions: Iterable[Condition]) -> str:
    """One line: what is wrong first, then what is not known yet, then what deserves a note."""
    by_severity = sorted(
        (c for c in conditions if c.message),
        key=lambda c: (ConditionStatus.FALSE, ConditionStatus.UNKNOWN, ConditionStatus.TRUE).index(c.status),
    )
    return by_severity[0].message if by_severity else state.value
