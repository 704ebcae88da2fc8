"""Waiting for news without polling: who watches is woken by the commit, reads again, and skips what it missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controlplane.domain.changes import Change, Changes
from controlplane.domain.records import DeploymentRecord
from controlplane.usecases.endpoints import existing_endpoint
from controlplane.usecases.ports import Store, Transaction
from controlplane.usecases.results import EndpointView


@contextmanager
def woken_by(changes: Changes, endpoint: str) -> Iterator[asyncio.Event]:
    """An event that is set at every change of an endpoint, or of anything under it."""
    event = asyncio.Event()

    def listen(change: Change) -> None:
        if change.endpoint == endpoint:
            event.set()

    unsubscribe = changes.subscribe(listen)
    try:
        yield event
    finally:
        unsubscribe()


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint with its deployments, as they were at one moment."""

    endpoint: EndpointView
    deployments: tuple[DeploymentRecord, ...]


class EndpointWatch:
    """Follows endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def follow(self, name: str) -> AsyncIterator[EndpointState | None]:
        """The endpoint as it is, then at every change; None at the end, once it is gone.

        Raises:
            NotFoundError: there is none of that name.
        """
        with woken_by(self._store.changes, name) as news:
            async with self._store.read() as transaction:
                await existing_endpoint(transaction, name)
            last: EndpointState | None = None
            while True:
                news.clear()
                async with self._store.read() as transaction:
                    state = await _state(transaction, name)
                if state is None or (last and state.endpoint.record.uid != last.endpoint.record.uid):
                    yield None  # gone, or another of the same name by now
                    return
                if state != last:
                    last = state
                    yield state
                await news.wait()


async def _state(transaction: Transaction, name: str) -> EndpointState | None:
    record = await transaction.endpoints.get(name)
    if record is None:
        return None
    deployments = tuple(await transaction.deployments.of_endpoint(record.uid))
    present = tuple(d.name for d in deployments if not d.deleting)
    return EndpointState(EndpointView(record, present), deployments)
