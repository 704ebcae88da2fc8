"""What reconcilers need of the store: :class:`controlplane.domain.desired_state.DesiredState` in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.instances import InstanceRecord
from controlplane.domain.names import deployment_name
from controlplane.domain.operations import OperationError, Verb
from controlplane.domain.ports import Clock
from controlplane.domain.records import DeploymentRecord, EndpointTree, Report
from controlplane.domain.revisions import deleted_meanwhile, deleting, failure_of
from controlplane.domain.status import ProvisioningState
from controlplane.store.store import Store, Transaction
from controlplane.store.trees import read_tree, read_trees


class SqlDesiredState:
    """Each call is one transaction. A report on another generation than the stored one is stale and ignored."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def endpoints(self) -> Sequence[EndpointTree]:
        """Everything."""
        async with self._store.read() as transaction:
            return await read_trees(transaction)

    async def endpoint(self, name: str) -> EndpointTree | None:
        """One endpoint with its deployments and instances."""
        async with self._store.read() as transaction:
            return await read_tree(transaction, name)

    async def instance_ids(self) -> frozenset[str]:
        """Every recorded instance."""
        async with self._store.read() as transaction:
            return await transaction.instances.ids()

    async def report_endpoint(
        self, uid: str, report: Report, effective_traffic: Mapping[str, int] | None = None
    ) -> bool:
        """Store a report, and end the operations it settles. False when it is stale."""
        async with self._store.write() as transaction:
            stored = await transaction.endpoints.by_uid(uid)
            if stored is None or stored.generation != report.generation:
                return False
            new = replace(stored, report=self._dated(report, stored.report))
            if effective_traffic is not None:
                new = replace(new, effective_traffic=dict(effective_traffic))
            if new != stored:
                await transaction.endpoints.save(new)
                await self._settle(transaction, uid, new.report)
                transaction.tell(Change(ChangeKind.STATUS, stored.name))
            return True

    async def report_deployment(self, uid: str, report: Report, ready_instances: int) -> bool:
        """The same for a deployment."""
        async with self._store.write() as transaction:
            return await self._report_deployment(transaction, uid, report, ready_instances)

    async def report_deployments(self, reports: Sequence[tuple[str, Report, int]]) -> None:
        """The same for many (uid, report, ready instances) in one transaction; stale ones are left out."""
        async with self._store.write() as transaction:
            for uid, report, ready_instances in reports:
                await self._report_deployment(transaction, uid, report, ready_instances)

    async def report_progress(self, target: str, message: str) -> None:
        """Tell the operations that change ``target`` what is going on."""
        async with self._store.write() as transaction:
            if await transaction.operations.progress(target, message):
                transaction.tell(_status_of(target))

    async def record_instances(self, deployment_uid: str, instances: Sequence[InstanceRecord]) -> bool:
        """Record instances that are about to be started. False when the deployment is gone or being deleted."""
        async with self._store.write() as transaction:
            deployment = await transaction.deployments.by_uid(deployment_uid)
            if deployment is None or deployment.deleting:
                return False
            await transaction.instances.add(instances)
            transaction.tell(Change(ChangeKind.STATUS, deployment.endpoint, deployment.name))
            return True

    async def drain_instances(self, ids: Sequence[str]) -> None:
        """Mark instances as draining, for good."""
        async with self._store.write() as transaction:
            transaction.tell(*_status_of_all(await transaction.instances.by_ids(ids)))
            await transaction.instances.drain(ids)

    async def forget_instances(self, ids: Sequence[str]) -> None:
        """Remove records of instances that are no more."""
        async with self._store.write() as transaction:
            transaction.tell(*_status_of_all(await transaction.instances.by_ids(ids)))
            await transaction.instances.remove(ids)

    async def mark_deployments_deleting(self, endpoint_uid: str) -> None:
        """Have every deployment of an endpoint that is being deleted go too."""
        async with self._store.write() as transaction:
            endpoint = await transaction.endpoints.by_uid(endpoint_uid)
            if endpoint is None or not endpoint.deleting:
                return
            for deployment in await transaction.deployments.of_endpoint(endpoint_uid):
                if not deployment.deleting:
                    await self._mark_deleting(transaction, deployment)

    async def remove_deployment(self, uid: str) -> None:
        """Remove a deployment that is being deleted and has no instances left; ends its operations as done."""
        async with self._store.write() as transaction:
            deployment = await transaction.deployments.by_uid(uid)
            if deployment is None or not deployment.deleting or await transaction.instances.any_of(uid):
                return
            await transaction.deployments.remove(uid)
            await self._end_all(transaction, uid, deployment_name(deployment.endpoint, deployment.name))
            transaction.tell(Change(ChangeKind.REMOVED, deployment.endpoint, deployment.name))

    async def remove_endpoint(self, uid: str) -> None:
        """Remove an endpoint that is being deleted and has no deployments left; ends its operations as done."""
        async with self._store.write() as transaction:
            endpoint = await transaction.endpoints.by_uid(uid)
            if endpoint is None or not endpoint.deleting or await transaction.deployments.of_endpoint(uid):
                return
            await transaction.endpoints.remove(uid)
            await self._end_all(transaction, uid, f"endpoints/{endpoint.name}")
            transaction.tell(Change(ChangeKind.REMOVED, endpoint.name))

    def _dated(self, report: Report, previous: Report) -> Report:
        now = self._clock.now()
        return replace(report, conditions=tuple(c.since(previous.conditions, now) for c in report.conditions))

    async def _report_deployment(
        self, transaction: Transaction, uid: str, report: Report, ready_instances: int
    ) -> bool:
        stored = await transaction.deployments.by_uid(uid)
        if stored is None or stored.generation != report.generation:
            return False
        new = replace(stored, report=self._dated(report, stored.report), ready_instances=ready_instances)
        if report.state is ProvisioningState.SUCCEEDED:
            new = replace(new, fallback=stored.template)
        if new != stored:
            await transaction.deployments.save_report(new)
            await self._settle(transaction, uid, new.report)
            transaction.tell(Change(ChangeKind.STATUS, stored.endpoint, stored.name))
        return True

    async def _settle(self, transaction: Transaction, uid: str, report: Report) -> None:
        if report.state is ProvisioningState.SUCCEEDED:
            verbs: tuple[Verb, ...] = (Verb.CREATE, Verb.UPDATE)
            error: OperationError | None = None
        elif report.state is ProvisioningState.FAILED:
            verbs, error = tuple(Verb), failure_of(report)
        else:
            return
        await transaction.operations.end(uid, self._clock.now(), verbs=verbs, generation=report.generation, error=error)

    async def _mark_deleting(self, transaction: Transaction, deployment: DeploymentRecord) -> None:
        now = self._clock.now()
        await transaction.deployments.save(deleting(deployment, now))
        gone = deleted_meanwhile(deployment_name(deployment.endpoint, deployment.name))
        await transaction.operations.end(deployment.uid, now, verbs=(Verb.CREATE, Verb.UPDATE), error=gone)
        transaction.tell(Change(ChangeKind.SPEC, deployment.endpoint, deployment.name))

    async def _end_all(self, transaction: Transaction, uid: str, target: str) -> None:
        now = self._clock.now()
        await transaction.operations.end(uid, now, verbs=(Verb.DELETE,))
        await transaction.operations.end(uid, now, error=deleted_meanwhile(target))


def _status_of(target: str) -> Change:
    parts = target.split("/")
    return Change(ChangeKind.STATUS, parts[1], parts[3] if len(parts) > 3 else "")  # noqa: PLR2004  # endpoints/E/deployments/D


def _status_of_all(instances: Iterable[InstanceRecord]) -> list[Change]:
    behind = {(record.endpoint, record.deployment) for record in instances}
    return [Change(ChangeKind.STATUS, endpoint, deployment) for endpoint, deployment in sorted(behind)]
