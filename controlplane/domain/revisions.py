"""How a resource moves from one desired state to the next: generation, etag, state, and what waits for it.

Pure, so that use cases and the store agree on it, and a property test can walk through it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from controlplane.domain.operations import OperationError
from controlplane.domain.records import DeploymentRecord, EndpointRecord, Report
from controlplane.domain.status import ConditionStatus, ProvisioningState

RecordT = TypeVar("RecordT", EndpointRecord, DeploymentRecord)


def etag_of(uid: str, revision: object) -> str:
    """16 hex digits, another for every revision of every resource."""
    return hashlib.sha256(f"{uid}/{revision}".encode()).hexdigest()[:16]


def first_report() -> Report:
    """What is known of a resource that was just accepted: nothing was observed yet."""
    return Report(generation=0, state=ProvisioningState.CREATING)


def revised(record: RecordT, now: datetime, *, scaled: bool = False) -> RecordT:
    """``record`` with its next generation and etag, on its way to it.

    A resource that never was as desired is still being created. ``scaled`` says the instance count alone changed.
    """
    new = record.report.state is ProvisioningState.CREATING
    state = ProvisioningState.CREATING if new else ProvisioningState.SCALING if scaled else ProvisioningState.UPDATING
    return _next(record, now, state)


def deleting(record: RecordT, now: datetime) -> RecordT:
    """``record`` on its way out."""
    return replace(_next(record, now, ProvisioningState.DELETING), deleting=True)


def settled(report: Report, generation: int) -> bool:
    """Whether a report says how ``generation`` ended."""
    return report.generation >= generation and report.state in (ProvisioningState.SUCCEEDED, ProvisioningState.FAILED)


def failure_of(report: Report) -> OperationError:
    """Why a resource failed: its first condition that does not hold."""
    for condition in report.conditions:
        if condition.status is ConditionStatus.FALSE:
            return OperationError(condition.reason, condition.message, condition.detail)
    return OperationError("Failed", "The desired state cannot be reached.")


def deleted_meanwhile(target: str) -> OperationError:
    """Why a creation or an update ends when its target is deleted."""
    return OperationError("Deleted", f"{target} was deleted before the change was done.")


def _next(record: RecordT, now: datetime, state: ProvisioningState) -> RecordT:
    generation = record.generation + 1
    return replace(
        record,
        generation=generation,
        etag=etag_of(record.uid, generation),
        report=replace(record.report, state=state),
        updated=now,
    )
