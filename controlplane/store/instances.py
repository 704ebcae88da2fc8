"""Records of instances in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, bindparam, delete, exists, insert, select, update

from controlplane.domain.instances import InstanceRecord
from controlplane.store.database import Executor
from controlplane.store.tables import deployments, endpoints, instances

_ROW = (
    select(instances, deployments.c.name.label("deployment"), endpoints.c.name.label("endpoint"))
    .join(deployments, deployments.c.uid == instances.c.deployment_uid)
    .join(endpoints, endpoints.c.uid == deployments.c.endpoint_uid)
)
_OF_ENDPOINT = _ROW.where(deployments.c.endpoint_uid == bindparam("endpoint_uid")).order_by(
    instances.c.created, instances.c.id
)


class InstanceRepository:
    """Instance records within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def all(self) -> Sequence[InstanceRecord]:
        """Every one."""
        return await self._many(_ROW.order_by(instances.c.created, instances.c.id))

    async def of_endpoint(self, endpoint_uid: str) -> Sequence[InstanceRecord]:
        """Those of one endpoint, oldest first."""
        return await self._many(_OF_ENDPOINT, {"endpoint_uid": endpoint_uid})

    async def by_ids(self, ids: Collection[str]) -> Sequence[InstanceRecord]:
        """Those of the given ids that exist."""
        return await self._many(_ROW.where(instances.c.id.in_(list(ids))))

    async def ids(self) -> frozenset[str]:
        """Every id."""
        return frozenset((await self._connection.execute(select(instances.c.id))).scalars())

    async def page(self, endpoint: str | None, deployment: str | None, after: str, limit: int) -> list[InstanceRecord]:
        """By id, those behind ``after``; of one endpoint or deployment where it is named."""
        query = _ROW.where(instances.c.id > after)
        if endpoint is not None:
            query = query.where(endpoints.c.name == endpoint)
        if deployment is not None:
            query = query.where(deployments.c.name == deployment)
        return await self._many(query.order_by(instances.c.id).limit(limit))

    async def any_of(self, deployment_uid: str) -> bool:
        """Whether a deployment has instances left."""
        query = select(exists().where(instances.c.deployment_uid == deployment_uid))
        return bool((await self._connection.execute(query)).scalar_one())

    async def add(self, records: Sequence[InstanceRecord]) -> None:
        """Store new ones; those that are stored already stay as they are."""
        known = {record.id for record in await self.by_ids([record.id for record in records])}
        new = [_columns(record) for record in records if record.id not in known]
        if new:
            await self._connection.execute(insert(instances), new)

    async def drain(self, ids: Collection[str]) -> None:
        """Mark as draining."""
        await self._connection.execute(update(instances).where(instances.c.id.in_(list(ids))).values(draining=True))

    async def remove(self, ids: Collection[str]) -> None:
        """Remove records."""
        await self._connection.execute(delete(instances).where(instances.c.id.in_(list(ids))))

    async def _many(self, query: Select[Any], named: Mapping[str, str] | None = None) -> list[InstanceRecord]:
        return [
            InstanceRecord(
                id=row.id,
                endpoint=row.endpoint,
                deployment=row.deployment,
                deployment_uid=row.deployment_uid,
                template_hash=row.template_hash,
                created=row.created,
                draining=row.draining,
            )
            for row in await self._connection.execute(query, named)
        ]


def _columns(record: InstanceRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "deployment_uid": record.deployment_uid,
        "template_hash": record.template_hash,
        "created": record.created,
        "draining": record.draining,
    }
