"""Deployments: create, read, change and delete them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from controlplane.domain.checks import Mistakes, check_deployment
from controlplane.domain.errors import (
    AlreadyExistsError,
    BeingDeletedError,
    DeploymentHasTrafficError,
    ErrorReason,
    NotFoundError,
)
from controlplane.domain.filters import FilterField, parse_filter
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.names import check_short_name, deployment_name
from controlplane.domain.operations import Caller, Verb
from controlplane.domain.records import DeploymentRecord, EndpointRecord
from controlplane.domain.revisions import deleting, etag_of, first_report, revised
from controlplane.domain.specs import DeploymentSpec
from controlplane.domain.status import ProvisioningState
from controlplane.usecases.endpoints import existing_endpoint, refuse_deleting
from controlplane.usecases.ledger import Ledger, check_etag
from controlplane.usecases.paging import Page, Query, collect
from controlplane.usecases.ports import Randomness, Store, Transaction
from controlplane.usecases.results import Accepted
from controlplane.usecases.templates import resolve

_FILTERS = (FilterField.NAME, FilterField.TAGS, FilterField.STATE)


class DeploymentUseCases:
    """What users can do with deployments. ``check`` is the backend's: it refuses what it cannot honour."""

    def __init__(
        self, store: Store, ledger: Ledger, randomness: Randomness, check: Callable[[InstanceTemplate], None]
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._randomness = randomness
        self._check = check

    async def create(
        self, endpoint: str, name: str, spec: DeploymentSpec, caller: Caller, *, validate_only: bool = False
    ) -> Accepted:
        """Accept a new deployment, with no traffic.

        Raises:
            InvalidArgumentError: with every mistake in the name and the spec; UnsupportedError by the backend.
            NotFoundError: the endpoint, the model, the environment or the code does not exist.
            AlreadyExistsError: the endpoint has one of that name.
            BeingDeletedError: the endpoint, or a deployment of that name, is on its way out.
        """
        mistakes = Mistakes()
        mistakes.gather(lambda: check_short_name("deployment_id", name))
        mistakes.gather(lambda: check_deployment(spec))
        mistakes.refuse()
        target = deployment_name(endpoint, name)
        async with self._transaction(validate_only=validate_only) as transaction:
            parent = await existing_endpoint(transaction, endpoint)
            refuse_deleting(parent)
            await _refuse_taken(transaction, endpoint, name)
            spec, template = await resolve(transaction, parent, name, spec)
            self._check(template)
            record = self._new(endpoint, name, spec, template)
            if validate_only:
                return Accepted(self._ledger.validated(Verb.CREATE, target, record), record)
            await transaction.deployments.add(record, parent.uid)
            return Accepted(await self._ledger.accept(transaction, Verb.CREATE, target, record, caller))

    async def get(self, endpoint: str, name: str) -> DeploymentRecord:
        """One deployment. Raises NotFoundError."""
        async with self._store.read() as transaction:
            return await existing_deployment(transaction, endpoint, name)

    async def list(self, endpoint: str | None, query: Query) -> Page[DeploymentRecord]:
        """Deployments by endpoint and name, of one endpoint or (None) of all.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidArgumentError: a malformed filter, size or token.
        """
        wanted = parse_filter(query.filter, _FILTERS)
        async with self._store.read() as transaction:
            if endpoint is not None:
                await existing_endpoint(transaction, endpoint)
            return await collect(
                query,
                ("", ""),
                lambda cursor, limit: transaction.deployments.page(endpoint, (cursor[0], cursor[1]), limit),
                lambda record: (record.endpoint, record.name),
                None if wanted.empty else lambda r: wanted.matches(r.name, r.spec.tags, r.report.state),
            )

    async def update(
        self,
        endpoint: str,
        name: str,
        change: Callable[[DeploymentSpec], DeploymentSpec],
        caller: Caller,
        *,
        etag: str = "",
        validate_only: bool = False,
    ) -> Accepted:
        """Accept what ``change`` makes of the present spec. Changing nothing is done at once.

        When the deployment has failed, asking for the same again is asking to try again.

        Raises:
            NotFoundError: it, or something it refers to, does not exist.
            BeingDeletedError: it is on its way out.
            EtagMismatchError: it changed since the etag was read.
            InvalidArgumentError: with every mistake in the new spec; UnsupportedError by the backend.
        """
        target = deployment_name(endpoint, name)
        async with self._transaction(validate_only=validate_only) as transaction:
            current = await existing_deployment(transaction, endpoint, name)
            _refuse_deleting(current)
            check_etag(etag, current.etag, target)
            spec = change(current.spec)
            check_deployment(spec)
            parent = await existing_endpoint(transaction, endpoint)
            spec, template = await resolve(transaction, parent, name, spec)
            self._check(template)
            alike = template.hash == current.template.hash
            same = alike and spec == current.spec
            if same and current.report.state is not ProvisioningState.FAILED and not validate_only:
                operation = await self._ledger.unchanged(transaction, target, current)
                return Accepted(operation, current if operation.done else None)
            scaled = alike and not same and replace(spec, instance_count=current.spec.instance_count) == current.spec
            record = revised(replace(current, spec=spec, template=template), self._ledger.now(), scaled=scaled)
            if validate_only:
                return Accepted(self._ledger.validated(Verb.UPDATE, target, record), record)
            await transaction.deployments.save(record)
            return Accepted(await self._ledger.accept(transaction, Verb.UPDATE, target, record, caller))

    async def delete(self, endpoint: str, name: str, caller: Caller, *, etag: str = "") -> Accepted:
        """Accept the deletion of a deployment without traffic. Asking twice gives the same operation.

        Raises:
            NotFoundError: there is none of that name.
            EtagMismatchError: it changed since the etag was read.
            DeploymentHasTrafficError: requests still go to it.
        """
        target = deployment_name(endpoint, name)
        async with self._store.write() as transaction:
            current = await existing_deployment(transaction, endpoint, name)
            check_etag(etag, current.etag, target)
            if current.deleting:
                pending = await transaction.operations.pending(current.uid, Verb.DELETE)
                if pending is not None:
                    return Accepted(pending)
            else:
                _refuse_traffic(await existing_endpoint(transaction, endpoint), current)
            record = deleting(current, self._ledger.now())
            await transaction.deployments.save(record)
            return Accepted(await self._ledger.accept(transaction, Verb.DELETE, target, record, caller))

    def _transaction(self, *, validate_only: bool) -> AbstractAsyncContextManager[Transaction]:
        return self._store.read() if validate_only else self._store.write()

    def _new(self, endpoint: str, name: str, spec: DeploymentSpec, template: InstanceTemplate) -> DeploymentRecord:
        now, uid = self._ledger.now(), self._randomness.uid()
        return DeploymentRecord(
            endpoint=endpoint,
            name=name,
            uid=uid,
            etag=etag_of(uid, 1),
            generation=1,
            spec=spec,
            template=template,
            report=first_report(),
            created=now,
            updated=now,
        )


async def existing_deployment(transaction: Transaction, endpoint: str, name: str) -> DeploymentRecord:
    """The deployment of that name under that endpoint.

    Raises:
        NotFoundError: there is no such endpoint, or no such deployment under it.
    """
    record = await transaction.deployments.get(endpoint, name)
    if record is not None:
        return record
    parent = await existing_endpoint(transaction, endpoint)
    have = ", ".join((await transaction.deployments.names([parent.uid]))[parent.uid]) or "none"
    raise NotFoundError(
        ErrorReason.DEPLOYMENT_NOT_FOUND,
        f"Endpoint '{endpoint}' has no deployment '{name}'; its deployments are: {have}.",
        resource=deployment_name(endpoint, name),
    )


def _refuse_deleting(record: DeploymentRecord) -> None:
    if record.deleting:
        raise BeingDeletedError(
            f"Deployment '{record.name}' of endpoint '{record.endpoint}' is being deleted.",
            hint="Wait until it is gone, then create it again.",
            resource=deployment_name(record.endpoint, record.name),
        )


async def _refuse_taken(transaction: Transaction, endpoint: str, name: str) -> None:
    taken = await transaction.deployments.get(endpoint, name)
    if taken is None:
        return
    _refuse_deleting(taken)
    raise AlreadyExistsError(
        f"Endpoint '{endpoint}' has a deployment '{name}' already.",
        hint="Update it, or choose another name.",
        resource=deployment_name(endpoint, name),
    )


def _refuse_traffic(endpoint: EndpointRecord, deployment: DeploymentRecord) -> None:
    if endpoint.deleting:
        return
    name, target = deployment.name, deployment_name(deployment.endpoint, deployment.name)
    live, mirrored = endpoint.spec.traffic.get(name, 0), endpoint.spec.mirror_traffic.get(name, 0)
    if live:
        raise DeploymentHasTrafficError(
            f"Deployment '{name}' has {live} % of the traffic of endpoint '{endpoint.name}'.",
            hint=f'Set it to 0 first: penstock online-endpoint update -n {endpoint.name} --traffic "{name}=0 ...".',
            resource=target,
        )
    if mirrored:
        raise DeploymentHasTrafficError(
            f"Deployment '{name}' receives {mirrored} % of the traffic of endpoint '{endpoint.name}' as a mirror.",
            hint=f'Set it to 0 first: penstock online-endpoint update -n {endpoint.name} --mirror-traffic "{name}=0".',
            resource=target,
        )
    if endpoint.effective_traffic.get(name, 0):
        raise DeploymentHasTrafficError(
            f"The gateway still sends traffic of endpoint '{endpoint.name}' to deployment '{name}'.",
            hint="It was set to 0, and that change is on its way: wait for it to be done, then repeat the call.",
            resource=target,
        )
