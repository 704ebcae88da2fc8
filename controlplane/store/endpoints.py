"""Endpoints in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, select, update

from controlplane.domain.records import EndpointRecord
from controlplane.store.codecs import CLIENT_KEYS, ENDPOINT_SPEC, REPORT, TRAFFIC
from controlplane.store.database import Executor
from controlplane.store.tables import endpoints, secrets

# Built once: putting a statement together takes longer than running it.
_ROW = select(endpoints)
_BY_NAME = _ROW.where(endpoints.c.name == bindparam("name")).with_for_update()
_BY_UID = _ROW.where(endpoints.c.uid == bindparam("uid")).with_for_update()
_ADD = insert(endpoints)
_SAVE = update(endpoints).where(endpoints.c.uid == bindparam("which"))


class EndpointRepository:
    """Endpoints, and their keys in sealed form, within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def get(self, name: str) -> EndpointRecord | None:
        """By name."""
        return await self._one(_BY_NAME, {"name": name})

    async def by_uid(self, uid: str) -> EndpointRecord | None:
        """By uid."""
        return await self._one(_BY_UID, {"uid": uid})

    async def page(self, after: str, limit: int) -> Sequence[EndpointRecord]:
        """In the order of their names, those behind ``after``."""
        rows = await self._connection.execute(
            _ROW.where(endpoints.c.name > after).order_by(endpoints.c.name).limit(limit)
        )
        return [endpoint_record(row) for row in rows]

    async def all(self) -> Sequence[EndpointRecord]:
        """Every one, by name."""
        rows = await self._connection.execute(_ROW.order_by(endpoints.c.name))
        return [endpoint_record(row) for row in rows]

    async def add(self, record: EndpointRecord) -> None:
        """Store a new one."""
        await self._connection.execute(_ADD, _columns(record))

    async def save(self, record: EndpointRecord) -> None:
        """Store what became of one."""
        await self._connection.execute(_SAVE, _columns(record) | {"which": record.uid})

    async def remove(self, uid: str) -> None:
        """Remove it with its keys."""
        await self._connection.execute(delete(endpoints).where(endpoints.c.uid == uid))

    async def seal(self, uid: str, sealed: Mapping[str, bytes]) -> None:
        """Store keys, replacing those of the same names."""
        await self._connection.execute(
            delete(secrets).where(secrets.c.endpoint_uid == uid, secrets.c.name.in_(list(sealed)))
        )
        await self._connection.execute(
            insert(secrets), [{"endpoint_uid": uid, "name": name, "sealed": value} for name, value in sealed.items()]
        )

    async def sealed(self, uid: str) -> Mapping[str, bytes]:
        """The stored keys, by name."""
        rows = await self._connection.execute(
            select(secrets.c.name, secrets.c.sealed).where(secrets.c.endpoint_uid == uid)
        )
        return {row.name: row.sealed for row in rows}

    async def _one(self, query: Select[Any], named: Mapping[str, str]) -> EndpointRecord | None:
        row = (await self._connection.execute(query, named)).one_or_none()
        return None if row is None else endpoint_record(row)


def endpoint_record(row: Row[Any]) -> EndpointRecord:
    """A row of the table as the domain's value."""
    return EndpointRecord(
        name=row.name,
        uid=row.uid,
        etag=row.etag,
        generation=row.generation,
        spec=ENDPOINT_SPEC.load(row.spec),
        report=REPORT.load(row.report),
        created=row.created,
        updated=row.updated,
        deleting=row.deleting,
        salt=row.salt,
        keys=CLIENT_KEYS.load(row.client_keys),
        effective_traffic=TRAFFIC.load(row.effective_traffic),
        tokens_not_before=row.tokens_not_before,
    )


def _columns(record: EndpointRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "uid": record.uid,
        "etag": record.etag,
        "generation": record.generation,
        "spec": ENDPOINT_SPEC.dump(record.spec),
        "report": REPORT.dump(record.report),
        "created": record.created,
        "updated": record.updated,
        "deleting": record.deleting,
        "salt": record.salt,
        "client_keys": CLIENT_KEYS.dump(record.keys),
        "effective_traffic": TRAFFIC.dump(record.effective_traffic),
        "tokens_not_before": record.tokens_not_before,
    }
