"""Models, environments and assets in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

from sqlalchemy import ColumnElement, Row, Table, delete, insert, select, tuple_, update

from controlplane.domain.names import LATEST, Versioned, deployment_name
from controlplane.domain.registry import AssetRecord, Registered, SpecT
from controlplane.domain.specs import Asset, AssetKind, EnvironmentSpec, ModelSpec
from controlplane.store.codec import Codec
from controlplane.store.codecs import ENVIRONMENT_SPEC, MODEL_SPEC
from controlplane.store.database import Executor
from controlplane.store.tables import assets, deployments, endpoints, environments, models, version_counters

_USERS_NAMED = 3


class RegistryRepository(Generic[SpecT]):
    """Versions of models or of environments within one transaction."""

    def __init__(
        self,
        connection: Executor,
        table: Table,
        codec: Codec[SpecT],
        asset: Callable[[SpecT], str | None],
        used: ColumnElement[int | None],
    ) -> None:
        self._connection = connection
        self._table = table
        self._codec: Codec[SpecT] = codec
        self._asset: Callable[[SpecT], str | None] = asset
        self._used = used

    async def get(self, name: str, version: str) -> Registered[SpecT] | None:
        """One version; ``latest`` is the one that was registered last."""
        table = self._table
        query = select(table).where(table.c.name == name)
        if version == LATEST:
            query = query.order_by(table.c.id.desc()).limit(1)
        else:
            query = query.where(table.c.version == version)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else self._record(row)

    async def page(
        self, name: str | None, after: tuple[str, int], limit: int
    ) -> Sequence[tuple[int, Registered[SpecT]]]:
        """By name, then in the order of registration, each with its number; of one name alone when it is given."""
        table = self._table
        query = select(table).where(tuple_(table.c.name, table.c.id) > tuple_(*after))
        if name is not None:
            query = query.where(table.c.name == name)
        rows = await self._connection.execute(query.order_by(table.c.name, table.c.id).limit(limit))
        return [(row.id, self._record(row)) for row in rows]

    async def next_version(self, name: str, asked: str) -> str:
        """The version to register: ``asked``, or the next integer, which is never one that was given before."""
        counters, kind = version_counters, self._table.name
        this = (counters.c.kind == kind) & (counters.c.name == name)
        last = (await self._connection.execute(select(counters.c.last).where(this).with_for_update())).scalar()
        wanted = int(asked) if asked.isdecimal() else (last or 0) + 1
        highest = wanted if not asked or asked.isdecimal() else last or 0
        if last is None:
            await self._connection.execute(insert(counters).values(kind=kind, name=name, last=highest))
        elif highest > last:
            await self._connection.execute(update(counters).where(this).values(last=highest))
        return asked or str(wanted)

    async def add(self, record: Registered[SpecT]) -> None:
        """Store a new one."""
        await self._connection.execute(
            insert(self._table).values(
                uid=record.uid,
                name=record.name.name,
                version=record.name.version,
                etag=record.etag,
                asset=self._asset(record.spec),
                spec=self._codec.dump(record.spec),
                created=record.created,
            )
        )

    async def save(self, record: Registered[SpecT]) -> None:
        """Store changed labels."""
        await self._connection.execute(
            update(self._table)
            .where(self._table.c.uid == record.uid)
            .values(etag=record.etag, spec=self._codec.dump(record.spec))
        )

    async def remove(self, uid: str) -> None:
        """Remove one that nothing uses."""
        await self._connection.execute(delete(self._table).where(self._table.c.uid == uid))

    async def users(self, uid: str) -> Sequence[str]:
        """The resource names of the first few deployments that use one."""
        query = (
            select(endpoints.c.name.label("endpoint"), deployments.c.name.label("deployment"))
            .join(endpoints, endpoints.c.uid == deployments.c.endpoint_uid)
            .where(self._used == select(self._table.c.id).where(self._table.c.uid == uid).scalar_subquery())
            .order_by(endpoints.c.name, deployments.c.name)
            .limit(_USERS_NAMED)
        )
        return [deployment_name(row.endpoint, row.deployment) for row in await self._connection.execute(query)]

    def _record(self, row: Row[Any]) -> Registered[SpecT]:
        return Registered(
            name=Versioned(row.name, row.version),
            uid=row.uid,
            etag=row.etag,
            spec=self._codec.load(row.spec),
            created=row.created,
        )


def model_repository(connection: Executor) -> RegistryRepository[ModelSpec]:
    """Models."""
    return RegistryRepository(connection, models, MODEL_SPEC, lambda spec: spec.asset, deployments.c.model_id)


def environment_repository(connection: Executor) -> RegistryRepository[EnvironmentSpec]:
    """Environments."""
    return RegistryRepository(
        connection,
        environments,
        ENVIRONMENT_SPEC,
        lambda spec: spec.build.asset if spec.build else None,
        deployments.c.environment_id,
    )


class AssetRepository:
    """What was uploaded, within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def get(self, sha256: str) -> AssetRecord | None:
        """By its digest."""
        row = (await self._connection.execute(select(assets).where(assets.c.sha256 == sha256))).one_or_none()
        if row is None:
            return None
        asset = Asset(sha256=row.sha256, kind=AssetKind(row.kind), basename=row.basename, size_bytes=row.size_bytes)
        return AssetRecord(asset=asset, created=row.created)

    async def add(self, record: AssetRecord) -> AssetRecord:
        """Store one; what is stored already stays and is returned."""
        known = await self.get(record.asset.sha256)
        if known is not None:
            return known
        asset = record.asset
        await self._connection.execute(
            insert(assets).values(
                sha256=asset.sha256,
                kind=asset.kind.value,
                basename=asset.basename,
                size_bytes=asset.size_bytes,
                created=record.created,
            )
        )
        return record
