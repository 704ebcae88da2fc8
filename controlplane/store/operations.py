"""Operations and the audit trail in the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from controlplane.domain.operations import AuditEvent, OperationError, OperationRecord, Verb
from controlplane.store.codecs import OPERATION_ERROR
from controlplane.store.database import Executor
from controlplane.store.tables import audit_events, operations

_NEWEST = (1 << 63) - 1
# Built once: putting a statement together takes longer than running it.
_ADD = insert(operations)
_ADD_EVENT = insert(audit_events)
_END = update(operations).where(
    operations.c.target_uid == bindparam("of"),
    operations.c.ended.is_(None),
    operations.c.verb.in_(bindparam("verbs", expanding=True)),
    operations.c.generation <= bindparam("newest"),
)


class OperationRepository:
    """Operations within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def get(self, operation: str) -> OperationRecord | None:
        """By id."""
        row = (await self._connection.execute(select(operations).where(operations.c.id == operation))).one_or_none()
        return None if row is None else _record(row)

    async def pending(self, target_uid: str, verb: Verb) -> OperationRecord | None:
        """The newest that has not ended, of one kind, on one resource."""
        query = (
            select(operations)
            .where(operations.c.target_uid == target_uid, operations.c.ended.is_(None), operations.c.verb == verb.value)
            .order_by(operations.c.generation.desc())
            .limit(1)
        )
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _record(row)

    async def page(self, after: tuple[datetime, str] | None, limit: int) -> Sequence[OperationRecord]:
        """Newest first, those behind ``after``."""
        query = select(operations).order_by(operations.c.created.desc(), operations.c.id.desc()).limit(limit)
        if after is not None:
            moment, operation = after
            same = operations.c.created == moment
            query = query.where((operations.c.created < moment) | (same & (operations.c.id < operation)))
        return [_record(row) for row in await self._connection.execute(query)]

    async def add(self, record: OperationRecord) -> None:
        """Store a new one."""
        await self._connection.execute(
            _ADD,
            {
                "id": record.id,
                "target": record.target,
                "target_uid": record.target_uid,
                "verb": record.verb.value,
                "generation": record.generation,
                "created": record.created,
                "ended": record.ended,
                "progress": record.progress,
                "error": None if record.error is None else OPERATION_ERROR.dump(record.error),
            },
        )

    async def end(
        self,
        target_uid: str,
        now: datetime,
        *,
        verbs: Collection[Verb] = tuple(Verb),
        generation: int | None = None,
        error: OperationError | None = None,
    ) -> None:
        """End what waits on a resource: of ``verbs``, up to ``generation``, well or with ``error``."""
        await self._connection.execute(
            _END,
            {
                "of": target_uid,
                "verbs": [verb.value for verb in verbs],
                "newest": _NEWEST if generation is None else generation,
                "ended": now,
                "progress": "",
                "error": None if error is None else OPERATION_ERROR.dump(error),
            },
        )

    async def progress(self, target: str, message: str) -> bool:
        """Say what is going on with a resource; whether anyone waits for it and it is news."""
        change = (
            update(operations)
            .where(operations.c.target == target, operations.c.ended.is_(None), operations.c.progress != message)
            .values(progress=message)
        )
        return bool((await self._connection.execute(change)).rowcount)

    async def remove(self, operation: str) -> None:
        """Forget one."""
        await self._connection.execute(delete(operations).where(operations.c.id == operation))

    async def forget_before(self, moment: datetime) -> None:
        """Forget those that ended before ``moment``."""
        await self._connection.execute(delete(operations).where(operations.c.ended < moment))


class AuditRepository:
    """The trail of who did what, within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def add(self, happened: AuditEvent) -> None:
        """Write one down."""
        await self._connection.execute(
            _ADD_EVENT,
            {
                "at": happened.at,
                "actor": happened.actor,
                "verb": happened.verb,
                "target": happened.target,
                "request_id": happened.request_id,
                "generation": happened.generation,
            },
        )

    async def newest(self, limit: int) -> Sequence[AuditEvent]:
        """The last ones, newest first."""
        rows = await self._connection.execute(select(audit_events).order_by(audit_events.c.id.desc()).limit(limit))
        return [
            AuditEvent(
                at=row.at,
                actor=row.actor,
                verb=row.verb,
                target=row.target,
                request_id=row.request_id,
                generation=row.generation,
            )
            for row in rows
        ]


def _record(row: Row[Any]) -> OperationRecord:
    return OperationRecord(
        id=row.id,
        target=row.target,
        target_uid=row.target_uid,
        verb=Verb(row.verb),
        generation=row.generation,
        created=row.created,
        ended=row.ended,
        progress=row.progress,
        error=None if row.error is None else OPERATION_ERROR.load(row.error),
    )
