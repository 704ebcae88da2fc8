"""The store as the rest sees it: transactions over repositories, and news of each once it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from controlplane.domain.changes import Change, Changes
from controlplane.store.database import Database, Executor
from controlplane.store.deployments import DeploymentRepository
from controlplane.store.endpoints import EndpointRepository
from controlplane.store.instances import InstanceRepository
from controlplane.store.migrate import migrate
from controlplane.store.operations import AuditRepository, OperationRepository
from controlplane.store.registry import AssetRepository, environment_repository, model_repository
from controlplane.store.signing_keys import SigningKeyRepository

OPERATIONS_KEPT = timedelta(days=30)


class Transaction:
    """One transaction: a repository per kind, and the changes to tell of after the commit."""

    def __init__(self, connection: Executor) -> None:
        self.endpoints = EndpointRepository(connection)
        self.deployments = DeploymentRepository(connection)
        self.signing_keys = SigningKeyRepository(connection)
        self.instances = InstanceRepository(connection)
        self.models = model_repository(connection)
        self.environments = environment_repository(connection)
        self.assets = AssetRepository(connection)
        self.operations = OperationRepository(connection)
        self.audit = AuditRepository(connection)
        self.changes: list[Change] = []

    def tell(self, *changes: Change) -> None:
        """Have listeners hear of this once it is committed."""
        self.changes += changes


class Store:
    """Short transactions. No call to a backend, a gateway or a client is made while one is open."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    @property
    def changes(self) -> Changes:
        """Where listeners subscribe."""
        return self._changes

    async def open(self, now: datetime) -> None:
        """Bring the database to this version, and forget operations that ended more than 30 days ago.

        Raises:
            StoreError: the database is damaged, locked, or was written by a newer version.
        """
        await migrate(self._database)
        async with self.write() as transaction:
            await transaction.operations.forget_before(now - OPERATIONS_KEPT)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A consistent view of everything."""
        async with self._database.read() as connection:
            yield Transaction(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """All of it is stored, and then told, or none of it is."""
        told: list[Change] = []
        async with self._database.write(lambda: self._changes.publish(told)) as connection:
            transaction = Transaction(connection)
            transaction.changes = told
            yield transaction

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()
