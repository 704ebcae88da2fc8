"""Deployments in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, select, tuple_, update

from controlplane.domain.names import Versioned
from controlplane.domain.records import DeploymentRecord
from controlplane.store.codecs import DEPLOYMENT_SPEC, REPORT, TEMPLATE
from controlplane.store.database import Executor
from controlplane.store.tables import deployments, endpoints, environments, models

_ROW = select(deployments, endpoints.c.name.label("endpoint")).join(
    endpoints, endpoints.c.uid == deployments.c.endpoint_uid
)
# Built once: putting a statement together takes longer than running it.
_BY_NAME = _ROW.where(
    endpoints.c.name == bindparam("endpoint"), deployments.c.name == bindparam("name")
).with_for_update(of=deployments)
_BY_UID = _ROW.where(deployments.c.uid == bindparam("uid")).with_for_update(of=deployments)
_OF_ENDPOINT = _ROW.where(deployments.c.endpoint_uid == bindparam("endpoint_uid")).order_by(deployments.c.name)
_NAMES = (
    select(deployments.c.endpoint_uid, deployments.c.name)
    .where(
        deployments.c.endpoint_uid.in_(bindparam("endpoint_uids", expanding=True)), deployments.c.deleting.is_(False)
    )
    .order_by(deployments.c.name)
)
_ADD = insert(deployments)
_SAVE = update(deployments).where(deployments.c.uid == bindparam("which"))


class DeploymentRepository:
    """Deployments within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def get(self, endpoint: str, name: str) -> DeploymentRecord | None:
        """By the endpoint's name and its own."""
        return await self._one(_BY_NAME, {"endpoint": endpoint, "name": name})

    async def by_uid(self, uid: str) -> DeploymentRecord | None:
        """By uid."""
        return await self._one(_BY_UID, {"uid": uid})

    async def of_endpoint(self, endpoint_uid: str) -> Sequence[DeploymentRecord]:
        """Those of one endpoint, by name."""
        return await self._many(_OF_ENDPOINT, {"endpoint_uid": endpoint_uid})

    async def all(self) -> Sequence[DeploymentRecord]:
        """Every one, by endpoint and name."""
        return await self._many(_ROW.order_by(endpoints.c.name, deployments.c.name))

    async def page(self, endpoint: str | None, after: tuple[str, str], limit: int) -> Sequence[DeploymentRecord]:
        """By endpoint and name, those behind ``after``; of one endpoint alone when it is named."""
        query = _ROW.where(tuple_(endpoints.c.name, deployments.c.name) > tuple_(*after))
        if endpoint is not None:
            query = query.where(endpoints.c.name == endpoint)
        return await self._many(query.order_by(endpoints.c.name, deployments.c.name).limit(limit))

    async def names(self, endpoint_uids: Collection[str]) -> Mapping[str, Sequence[str]]:
        """The names of the deployments that are to stay, by the endpoint's uid."""
        found: dict[str, list[str]] = {uid: [] for uid in endpoint_uids}
        for row in await self._connection.execute(_NAMES, {"endpoint_uids": list(endpoint_uids)}):
            found[row.endpoint_uid].append(row.name)
        return found

    async def add(self, record: DeploymentRecord, endpoint_uid: str) -> None:
        """Store a new one."""
        columns = _columns(record) | await self._references(record)
        await self._connection.execute(_ADD, columns | {"endpoint_uid": endpoint_uid})

    async def save(self, record: DeploymentRecord) -> None:
        """Store what became of one."""
        columns = _columns(record) | await self._references(record)
        await self._connection.execute(_SAVE, columns | {"which": record.uid})

    async def save_report(self, record: DeploymentRecord) -> None:
        """Store what was observed of one, and no more."""
        columns = {
            "report": REPORT.dump(record.report),
            "ready_instances": record.ready_instances,
            "fallback": _fallback(record),
        }
        await self._connection.execute(_SAVE, columns | {"which": record.uid})

    async def remove(self, uid: str) -> None:
        """Remove one that has no instances."""
        await self._connection.execute(delete(deployments).where(deployments.c.uid == uid))

    async def _references(self, record: DeploymentRecord) -> dict[str, Any]:
        spec = record.spec
        return {
            "model_id": await self._registered(models, spec.model),
            "environment_id": await self._registered(environments, spec.environment),
            "code_asset": spec.code_asset or None,
        }

    async def _registered(self, table: Any, name: Versioned | None) -> int | None:
        if name is None:
            return None
        query = select(table.c.id).where(table.c.name == name.name, table.c.version == name.version)
        return (await self._connection.execute(query)).scalar_one()  # type: ignore[no-any-return]

    async def _one(self, query: Select[Any], named: Mapping[str, str]) -> DeploymentRecord | None:
        row = (await self._connection.execute(query, named)).one_or_none()
        return None if row is None else deployment_record(row)

    async def _many(self, query: Select[Any], named: Mapping[str, str] | None = None) -> Sequence[DeploymentRecord]:
        return [deployment_record(row) for row in await self._connection.execute(query, named)]


def deployment_record(row: Row[Any]) -> DeploymentRecord:
    """A row of the table, with the endpoint's name, as the domain's value."""
    return DeploymentRecord(
        endpoint=row.endpoint,
        name=row.name,
        uid=row.uid,
        etag=row.etag,
        generation=row.generation,
        spec=DEPLOYMENT_SPEC.load(row.spec),
        template=TEMPLATE.load(row.template),
        report=REPORT.load(row.report),
        created=row.created,
        updated=row.updated,
        deleting=row.deleting,
        ready_instances=row.ready_instances,
        fallback=None if row.fallback is None else TEMPLATE.load(row.fallback),
    )


def _columns(record: DeploymentRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "uid": record.uid,
        "etag": record.etag,
        "generation": record.generation,
        "spec": DEPLOYMENT_SPEC.dump(record.spec),
        "template": TEMPLATE.dump(record.template),
        "report": REPORT.dump(record.report),
        "created": record.created,
        "updated": record.updated,
        "deleting": record.deleting,
        "ready_instances": record.ready_instances,
        "fallback": _fallback(record),
    }


def _fallback(record: DeploymentRecord) -> str | None:
    return None if record.fallback is None else TEMPLATE.dump(record.fallback)
