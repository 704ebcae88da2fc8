"""Operations: looked at, waited for, forgotten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from controlplane.domain.errors import ErrorReason, NotFoundError
from controlplane.domain.filters import FilterField, parse_filter
from controlplane.domain.operations import OperationRecord, Verb
from controlplane.usecases.paging import Page, Query, collect
from controlplane.usecases.ports import Store, Transaction
from controlplane.usecases.results import Accepted, EndpointView
from controlplane.usecases.watching import woken_by

_FILTERS = (FilterField.TARGET, FilterField.DONE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME = 1 << 60
"""Microseconds; behind every operation in a list that goes back in time."""


class OperationUseCases:
    """What users can do with operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, operation: str) -> Accepted:
        """One operation, with the resource when it is done well. Raises NotFoundError."""
        async with self._store.read() as transaction:
            return await _with_result(transaction, await _existing(transaction, operation))

    async def list(self, query: Query) -> Page[Accepted]:
        """Newest first. Raises InvalidArgumentError for a malformed size, token or filter."""
        wanted = parse_filter(query.filter, _FILTERS)
        async with self._store.read() as transaction:
            page = await collect(
                query,
                (_END_OF_TIME, ""),
                lambda cursor, limit: transaction.operations.page(_after(cursor[0], cursor[1]), limit),
                lambda record: ((record.created - _EPOCH) // timedelta(microseconds=1), record.id),
                None
                if wanted.empty
                else lambda record: wanted.matches(record.target, {}) and wanted.done in (None, record.done),
            )
            items = [await _with_result(transaction, record) for record in page.items]
        return Page(tuple(items), page.next_token)

    async def wait(self, operation: str, seconds: float | None) -> Accepted:
        """The operation once it has ended, or as it is after ``seconds`` (None: without a limit).

        Raises:
            NotFoundError: there is none of that id.
        """
        accepted = await self.get(operation)
        endpoint = accepted.operation.target.split("/")[1]
        with woken_by(self._store.changes, endpoint) as news:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        news.clear()
                        accepted = await self.get(operation)
                        if accepted.operation.done:
                            return accepted
                        await news.wait()
            except TimeoutError:
                return accepted

    async def delete(self, operation: str) -> None:
        """Forget an operation; what it changes goes on changing. Raises NotFoundError."""
        async with self._store.write() as transaction:
            await _existing(transaction, operation)
            await transaction.operations.remove(operation)


async def _existing(transaction: Transaction, operation: str) -> OperationRecord:
    record = await transaction.operations.get(operation)
    if record is None:
        name = f"operations/{operation}"
        raise NotFoundError(
            ErrorReason.OPERATION_NOT_FOUND,
            f"There is no operation '{name}'.",
            hint="Operations are kept for 30 days after they end.",
            resource=name,
        )
    return record


async def _with_result(transaction: Transaction, operation: OperationRecord) -> Accepted:
    if not operation.done or operation.error is not None or operation.verb is Verb.DELETE:
        return Accepted(operation)
    if "/deployments/" in operation.target:
        return Accepted(operation, await transaction.deployments.by_uid(operation.target_uid))
    record = await transaction.endpoints.by_uid(operation.target_uid)
    if record is None:
        return Accepted(operation)
    names = await transaction.deployments.names([record.uid])
    return Accepted(operation, EndpointView(record, tuple(names[record.uid])))


def _after(microseconds: int, operation: str) -> tuple[datetime, str] | None:
    return None if microseconds == _END_OF_TIME else (_EPOCH + timedelta(microseconds=microseconds), operation)
