"""Writes down, within the transaction of the change, what a change leaves beside itself: operation, audit, news."""

from __future__ import annotations

from datetime import datetime

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import EtagMismatchError
from controlplane.domain.operations import AuditEvent, Caller, OperationRecord, Verb
from controlplane.domain.ports import Clock
from controlplane.domain.records import DeploymentRecord, EndpointRecord
from controlplane.domain.revisions import deleted_meanwhile, settled
from controlplane.usecases.ports import Randomness, Transaction


class Ledger:
    """Operations and audit events with their ids and times."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness

    def now(self) -> datetime:
        """The present moment."""
        return self._clock.now()

    async def accept(
        self,
        transaction: Transaction,
        verb: Verb,
        target: str,
        record: EndpointRecord | DeploymentRecord,
        caller: Caller,
    ) -> OperationRecord:
        """Note a change of ``record``, and have the reconcilers hear of it."""
        operation = self._operation(verb, target, record, done=False, stored=True)
        if verb is Verb.DELETE:
            superseded = (Verb.CREATE, Verb.UPDATE)
            await transaction.operations.end(
                record.uid, operation.created, verbs=superseded, error=deleted_meanwhile(target)
            )
        await transaction.operations.add(operation)
        await self.note(transaction, verb.value, target, caller, record.generation)
        transaction.tell(_news_of(record))
        return operation

    async def unchanged(
        self, transaction: Transaction, target: str, record: EndpointRecord | DeploymentRecord
    ) -> OperationRecord:
        """An update that changes nothing: done already, or with whatever is on its way to the same state."""
        done = settled(record.report, record.generation)
        operation = self._operation(Verb.UPDATE, target, record, done=done, stored=True)
        await transaction.operations.add(operation)
        return operation

    def validated(self, verb: Verb, target: str, record: EndpointRecord | DeploymentRecord) -> OperationRecord:
        """The operation of a call that only validates; it is not stored."""
        return self._operation(verb, target, record, done=True, stored=False)

    async def note(self, transaction: Transaction, verb: str, target: str, caller: Caller, generation: int = 0) -> None:
        """Write to the audit trail."""
        await transaction.audit.add(
            AuditEvent(self._clock.now(), caller.actor, verb, target, caller.request_id, generation)
        )

    def _operation(
        self, verb: Verb, target: str, record: EndpointRecord | DeploymentRecord, *, done: bool, stored: bool
    ) -> OperationRecord:
        now = self._clock.now()
        return OperationRecord(
            id=self._randomness.uid() if stored else "",
            target=target,
            target_uid=record.uid,
            verb=verb,
            generation=record.generation,
            created=now,
            ended=now if done else None,
        )


def check_etag(sent: str, stored: str, resource: str) -> None:
    """Accept an empty etag and the present one.

    Raises:
        EtagMismatchError: the resource changed since.
    """
    if sent and sent != stored:
        raise EtagMismatchError(
            f"{resource} changed since it was read.",
            hint="Read it again and repeat the change, or leave the etag out to overwrite.",
            resource=resource,
        )


def _news_of(record: EndpointRecord | DeploymentRecord) -> Change:
    if isinstance(record, EndpointRecord):
        return Change(ChangeKind.SPEC, record.name)
    return Change(ChangeKind.SPEC, record.endpoint, record.name)
