"""Endpoints: create, read, change and delete them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from controlplane.domain.checks import Mistakes, check_endpoint
from controlplane.domain.errors import AlreadyExistsError, BeingDeletedError, ErrorReason, NotFoundError
from controlplane.domain.filters import FilterField, parse_filter
from controlplane.domain.names import check_short_name, endpoint_name
from controlplane.domain.operations import Caller, Verb
from controlplane.domain.records import EndpointRecord
from controlplane.domain.revisions import deleting, etag_of, first_report, revised
from controlplane.domain.signing import revoked_before
from controlplane.domain.specs import AuthMode, EndpointSpec
from controlplane.domain.status import ProvisioningState
from controlplane.domain.traffic import check_traffic, without_zeros
from controlplane.usecases.keys import KeyRing
from controlplane.usecases.ledger import Ledger, check_etag
from controlplane.usecases.paging import Page, Query, collect
from controlplane.usecases.ports import Randomness, Store, Transaction
from controlplane.usecases.results import Accepted, EndpointView

_FILTERS = (FilterField.NAME, FilterField.TAGS, FilterField.STATE)


class EndpointUseCases:
    """What users can do with endpoints."""

    def __init__(self, store: Store, ledger: Ledger, keys: KeyRing, randomness: Randomness) -> None:
        self._store = store
        self._ledger = ledger
        self._keys = keys
        self._randomness = randomness

    async def create(self, name: str, spec: EndpointSpec, caller: Caller, *, validate_only: bool = False) -> Accepted:
        """Accept a new endpoint.

        Raises:
            InvalidArgumentError: with every mistake in the name and the spec.
            AlreadyExistsError: there is one of that name.
            BeingDeletedError: there still is one of that name, on its way out.
        """
        spec = _tidy(spec)
        mistakes = Mistakes()
        mistakes.gather(lambda: check_short_name("endpoint_id", name))
        mistakes.gather(lambda: check_endpoint(spec))
        mistakes.gather(lambda: check_traffic(spec.traffic, spec.mirror_traffic, (), endpoint=name))
        mistakes.refuse()
        record = self._new(name, spec)
        async with self._transaction(validate_only=validate_only) as transaction:
            await _refuse_taken(transaction, name)
            if validate_only:
                return Accepted(self._ledger.validated(Verb.CREATE, endpoint_name(name), record), EndpointView(record))
            record, sealed = self._keys.issue(record)
            await transaction.endpoints.add(record)
            if sealed:
                await transaction.endpoints.seal(record.uid, sealed)
            return Accepted(await self._ledger.accept(transaction, Verb.CREATE, endpoint_name(name), record, caller))

    async def get(self, name: str) -> EndpointView:
        """One endpoint. Raises NotFoundError."""
        async with self._store.read() as transaction:
            return await _view(transaction, await existing_endpoint(transaction, name))

    async def list(self, query: Query) -> Page[EndpointView]:
        """Endpoints by name. Raises InvalidArgumentError for a malformed filter, size or token."""
        wanted = parse_filter(query.filter, _FILTERS)
        async with self._store.read() as transaction:
            page = await collect(
                query,
                ("",),
                lambda cursor, limit: transaction.endpoints.page(cursor[0], limit),
                lambda record: (record.name,),
                None if wanted.empty else lambda r: wanted.matches(r.name, r.spec.tags, r.report.state),
            )
            names = await transaction.deployments.names([record.uid for record in page.items])
        views = tuple(EndpointView(record, tuple(names[record.uid])) for record in page.items)
        return Page(views, page.next_token)

    async def update(
        self,
        name: str,
        change: Callable[[EndpointSpec], EndpointSpec],
        caller: Caller,
        *,
        etag: str = "",
        validate_only: bool = False,
    ) -> Accepted:
        """Accept what ``change`` makes of the present spec. Changing nothing is done at once.

        When the endpoint has failed, asking for the same again is asking to try again.

        Raises:
            NotFoundError: there is none of that name.
            BeingDeletedError: it is on its way out.
            EtagMismatchError: it changed since the etag was read.
            InvalidArgumentError: with every mistake in the new spec.
        """
        target = endpoint_name(name)
        async with self._transaction(validate_only=validate_only) as transaction:
            current = await existing_endpoint(transaction, name)
            refuse_deleting(current)
            check_etag(etag, current.etag, target)
            view = await _view(transaction, current)
            spec = _tidy(change(current.spec))
            _check_change(current, spec, view.deployments)
            record = replace(revised(current, self._ledger.now()), spec=spec)
            if validate_only:
                return Accepted(
                    self._ledger.validated(Verb.UPDATE, target, record), EndpointView(record, view.deployments)
                )
            if spec == current.spec and current.report.state is not ProvisioningState.FAILED:
                operation = await self._ledger.unchanged(transaction, target, current)
                return Accepted(operation, view if operation.done else None)
            await transaction.endpoints.save(record)
            return Accepted(await self._ledger.accept(transaction, Verb.UPDATE, target, record, caller))

    async def delete(self, name: str, caller: Caller, *, etag: str = "") -> Accepted:
        """Accept the deletion of an endpoint with its deployments. Asking twice gives the same operation.

        Raises:
            NotFoundError: there is none of that name.
            EtagMismatchError: it changed since the etag was read.
        """
        target = endpoint_name(name)
        async with self._store.write() as transaction:
            current = await existing_endpoint(transaction, name)
            check_etag(etag, current.etag, target)
            if current.deleting:
                pending = await transaction.operations.pending(current.uid, Verb.DELETE)
                if pending is not None:
                    return Accepted(pending)
            record = deleting(current, self._ledger.now())
            await transaction.endpoints.save(record)
            return Accepted(await self._ledger.accept(transaction, Verb.DELETE, target, record, caller))

    def _transaction(self, *, validate_only: bool) -> AbstractAsyncContextManager[Transaction]:
        return self._store.read() if validate_only else self._store.write()

    def _new(self, name: str, spec: EndpointSpec) -> EndpointRecord:
        now, uid = self._ledger.now(), self._randomness.uid()
        return EndpointRecord(
            name=name,
            uid=uid,
            etag=etag_of(uid, 1),
            generation=1,
            spec=spec,
            report=first_report(),
            created=now,
            updated=now,
            salt=self._randomness.salt(),
            # Tokens of a deleted endpoint of the same name open nothing here.
            tokens_not_before=revoked_before(now, 0) if spec.auth_mode is AuthMode.AML_TOKEN else 0,
        )


async def existing_endpoint(transaction: Transaction, name: str) -> EndpointRecord:
    """The endpoint of that name.

    Raises:
        NotFoundError: there is none.
    """
    record = await transaction.endpoints.get(name)
    if record is None:
        raise NotFoundError(
            ErrorReason.ENDPOINT_NOT_FOUND,
            f"There is no endpoint '{name}'.",
            hint="penstock online-endpoint list shows which there are.",
            resource=endpoint_name(name),
        )
    return record


def refuse_deleting(record: EndpointRecord) -> None:
    """Raise BeingDeletedError for an endpoint on its way out."""
    if record.deleting:
        raise BeingDeletedError(
            f"Endpoint '{record.name}' is being deleted.",
            hint="Wait until it is gone, then create it again.",
            resource=endpoint_name(record.name),
        )


async def _refuse_taken(transaction: Transaction, name: str) -> None:
    taken = await transaction.endpoints.get(name)
    if taken is None:
        return
    refuse_deleting(taken)
    raise AlreadyExistsError(
        f"There is an endpoint '{name}' already.",
        hint="Update it, or choose another name.",
        resource=endpoint_name(name),
    )


async def _view(transaction: Transaction, record: EndpointRecord) -> EndpointView:
    return EndpointView(record, tuple((await transaction.deployments.names([record.uid]))[record.uid]))


def _check_change(current: EndpointRecord, spec: EndpointSpec, deployments: tuple[str, ...]) -> None:
    mistakes = Mistakes()
    mistakes.gather(lambda: check_endpoint(spec))
    if spec.auth_mode is not current.spec.auth_mode:
        mistakes.add("auth_mode", f"is {current.spec.auth_mode.value} and cannot be changed: create another endpoint")
    before = current.spec
    if (spec.traffic, spec.mirror_traffic) != (before.traffic, before.mirror_traffic):
        mistakes.gather(lambda: check_traffic(spec.traffic, spec.mirror_traffic, deployments, endpoint=current.name))
    mistakes.refuse()


def _tidy(spec: EndpointSpec) -> EndpointSpec:
    """Zeros mean nothing, and are shown anyway for each deployment without a share."""
    return replace(spec, traffic=without_zeros(spec.traffic), mirror_traffic=without_zeros(spec.mirror_traffic))
