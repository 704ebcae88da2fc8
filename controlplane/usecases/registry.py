"""Models and environments: the same rules for both, said once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

from controlplane.domain.checks import Mistakes
from controlplane.domain.errors import (
    AlreadyExistsError,
    ErrorReason,
    InvalidArgumentError,
    ResourceInUseError,
    Violation,
)
from controlplane.domain.filters import FilterField, parse_filter
from controlplane.domain.names import Versioned, check_registered_name, check_version
from controlplane.domain.operations import Caller, Verb
from controlplane.domain.registry import Registered, SpecT
from controlplane.domain.revisions import etag_of
from controlplane.usecases.ledger import Ledger, check_etag
from controlplane.usecases.paging import Page, Query, collect
from controlplane.usecases.ports import Randomness, Registry, Store, Transaction
from controlplane.usecases.templates import existing_asset, missing

_FILTERS = (FilterField.NAME, FilterField.TAGS, FilterField.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class RegistryKind(Generic[SpecT]):
    """What differs between models and environments."""

    name: str
    """``model`` or ``environment``."""
    not_found: ErrorReason
    registry: Callable[[Transaction], Registry[SpecT]]
    check: Callable[[SpecT], None]
    asset_of: Callable[[SpecT], str | None]


class RegistryUseCases(Generic[SpecT]):
    """What users can do with models, or with environments."""

    def __init__(self, kind: RegistryKind[SpecT], store: Store, ledger: Ledger, randomness: Randomness) -> None:
        self._kind: RegistryKind[SpecT] = kind
        self._store = store
        self._ledger = ledger
        self._randomness = randomness

    async def create(self, name: str, version: str, spec: SpecT, caller: Caller) -> Registered[SpecT]:
        """Register a version; without one, the next integer, which no other version ever had.

        Raises:
            InvalidArgumentError: with every mistake in the name, the version and the spec.
            NotFoundError: its files were not uploaded.
            AlreadyExistsError: there is that version already.
        """
        kind = self._kind
        mistakes = Mistakes()
        mistakes.gather(lambda: check_registered_name(f"{kind.name}_id", name))
        if version:
            mistakes.gather(lambda: check_version("version", version))
        mistakes.gather(lambda: kind.check(spec))
        mistakes.refuse()
        async with self._store.write() as transaction:
            registry = kind.registry(transaction)
            if version and await registry.get(name, version) is not None:
                raise AlreadyExistsError(
                    f"There is a {kind.name} '{name}:{version}' already, and a version never changes.",
                    hint="Leave the version out to register the next one.",
                    resource=self._resource(Versioned(name, version)),
                )
            asset = kind.asset_of(spec)
            if asset is not None:
                await existing_asset(transaction, asset)
            versioned = Versioned(name, await registry.next_version(name, version))
            uid = self._randomness.uid()
            record = Registered(versioned, uid, etag_of(uid, spec), spec, self._ledger.now())
            await registry.add(record)
            await self._ledger.note(transaction, Verb.CREATE, self._resource(versioned), caller)
            return record

    async def get(self, name: Versioned) -> Registered[SpecT]:
        """One version; ``latest`` is the one registered last. Raises NotFoundError."""
        async with self._store.read() as transaction:
            return await self._existing(transaction, name)

    async def list(self, name: str | None, query: Query) -> Page[Registered[SpecT]]:
        """By name, then in the order of registration; of one name or (None) of all.

        Raises:
            InvalidArgumentError: a malformed filter, size or token.
        """
        wanted = parse_filter(query.filter, _FILTERS)
        async with self._store.read() as transaction:
            registry = self._kind.registry(transaction)
            page = await collect(
                query,
                ("", 0),
                lambda cursor, limit: registry.page(name, (cursor[0], cursor[1]), limit),
                lambda item: (item[1].name.name, item[0]),
                lambda item: (
                    item[1].spec.anonymous is bool(wanted.anonymous)
                    and wanted.matches(item[1].name.name, item[1].spec.tags)
                ),
            )
        return Page(tuple(record for _, record in page.items), page.next_token)

    async def update(
        self, name: Versioned, change: Callable[[SpecT], SpecT], caller: Caller, *, etag: str = ""
    ) -> Registered[SpecT]:
        """Change the labels: description, tags, properties.

        Raises:
            NotFoundError: there is no such version.
            EtagMismatchError: it changed since the etag was read.
            InvalidArgumentError: with every mistake, a change of the content among them.
        """
        async with self._store.write() as transaction:
            current = await self._existing(transaction, name)
            target = self._resource(current.name)
            check_etag(etag, current.etag, target)
            spec = change(current.spec)
            self._kind.check(spec)
            if _content(spec) != _content(current.spec):
                raise InvalidArgumentError(
                    Violation(
                        "update_mask", "description, tags and properties can change; the content of a version never"
                    ),
                    hint="Register a new version.",
                    resource=target,
                )
            if spec == current.spec:
                return current
            record = replace(current, spec=spec, etag=etag_of(current.uid, spec))
            await self._kind.registry(transaction).save(record)
            await self._ledger.note(transaction, Verb.UPDATE, target, caller)
            return record

    async def delete(self, name: Versioned, caller: Caller, *, etag: str = "") -> None:
        """Forget a version that no deployment uses.

        Raises:
            NotFoundError: there is no such version.
            EtagMismatchError: it changed since the etag was read.
            ResourceInUseError: a deployment uses it.
        """
        async with self._store.write() as transaction:
            current = await self._existing(transaction, name)
            target = self._resource(current.name)
            check_etag(etag, current.etag, target)
            registry = self._kind.registry(transaction)
            users = await registry.users(current.uid)
            if users:
                raise ResourceInUseError(
                    f"The {self._kind.name} '{current.name}' is used by {', '.join(users)}.",
                    hint="Delete those deployments, or have them use another version, first.",
                    resource=target,
                )
            await registry.remove(current.uid)
            await self._ledger.note(transaction, Verb.DELETE, target, caller)

    async def _existing(self, transaction: Transaction, name: Versioned) -> Registered[SpecT]:
        record = await self._kind.registry(transaction).get(name.name, name.version)
        if record is None:
            raise missing(self._kind.not_found, self._kind.name, name)
        return record

    def _resource(self, name: Versioned) -> str:
        return f"{self._kind.name}s/{name.name}/versions/{name.version}"


def _content(spec: SpecT) -> SpecT:
    return replace(spec, description="", tags={}, properties={})
