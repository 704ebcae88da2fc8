"""Instances and their logs: what the store recorded, together with what the backend sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.domain.errors import ErrorReason, InvalidArgumentError, NotFoundError, Violation
from controlplane.domain.filters import FilterField, parse_filter
from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState
from controlplane.domain.names import instance_name
from controlplane.domain.ports import LogKind, LogLines
from controlplane.usecases.deployments import existing_deployment
from controlplane.usecases.endpoints import existing_endpoint
from controlplane.usecases.paging import Cursor, Page, Query, collect
from controlplane.usecases.ports import Store

LINES_MAX = 1_000_000
_FILTERS = (FilterField.NAME, FilterField.INSTANCE_STATE)


class Observer(Protocol):
    """The part of a backend that only looks."""

    async def observe(self) -> Mapping[str, InstanceObservation]:
        """Every instance there is, by id."""

    def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        """Lines of logs."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as recorded and as seen; ``seen`` is None before it is started."""

    record: InstanceRecord
    seen: InstanceObservation | None = None

    @property
    def state(self) -> InstanceState:
        """What users are told it does."""
        state = self.seen.state if self.seen else InstanceState.PENDING
        return InstanceState.DRAINING if self.record.draining and state is not InstanceState.FAILED else state


class InstanceUseCases:
    """What users can do with instances."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer

    async def get(self, endpoint: str, deployment: str, instance: str) -> InstanceView:
        """One instance. Raises NotFoundError."""
        async with self._store.read() as transaction:
            await existing_deployment(transaction, endpoint, deployment)
            found = await transaction.instances.by_ids([instance])
        for record in found:
            if (record.endpoint, record.deployment) == (endpoint, deployment):
                return InstanceView(record, (await self._observer.observe()).get(instance))
        raise _missing(endpoint, deployment, instance)

    async def list(self, endpoint: str | None, deployment: str | None, query: Query) -> Page[InstanceView]:
        """By id, of one endpoint and deployment, or (None) of all.

        Raises:
            NotFoundError: there is no such endpoint or deployment.
            InvalidArgumentError: a malformed size, token or filter.
        """
        wanted = parse_filter(query.filter, _FILTERS)
        seen = await self._observer.observe()
        async with self._store.read() as transaction:
            if endpoint is not None and deployment is not None:
                await existing_deployment(transaction, endpoint, deployment)
            elif endpoint is not None:
                await existing_endpoint(transaction, endpoint)

            async def fetch(cursor: Cursor, limit: int) -> list[InstanceView]:
                records = await transaction.instances.page(endpoint, deployment, cursor[0], limit)
                return [InstanceView(record, seen.get(record.id)) for record in records]

            return await collect(
                query,
                ("",),
                fetch,
                lambda view: (view.record.id,),
                None if wanted.empty else lambda view: wanted.matches(view.record.id, {}, view.state),
            )

    async def logs(
        self, endpoint: str, deployment: str, kind: LogKind, lines: int, *, instance: str = "", follow: bool = False
    ) -> AsyncIterator[LogLines]:
        """A deployment's log, or one instance's.

        Raises:
            NotFoundError: there is no such deployment or instance.
            InvalidArgumentError: the number of lines is out of range.
        """
        if not 0 <= lines <= LINES_MAX:
            raise InvalidArgumentError(Violation("lines", f"is {lines}, and 0 to {LINES_MAX} are taken"))
        async with self._store.read() as transaction:
            record = await existing_deployment(transaction, endpoint, deployment)
            parent = await existing_endpoint(transaction, endpoint)
            records = await transaction.instances.of_endpoint(parent.uid)
        ids = tuple(r.id for r in records if r.deployment_uid == record.uid and instance in ("", r.id))
        if instance and not ids:
            raise _missing(endpoint, deployment, instance)
        return self._observer.logs(ids, record.template.hash, kind, lines, follow=follow)


def _missing(endpoint: str, deployment: str, instance: str) -> NotFoundError:
    name = instance_name(endpoint, deployment, instance)
    return NotFoundError(ErrorReason.INSTANCE_NOT_FOUND, f"There is no instance '{name}'.", resource=name)
