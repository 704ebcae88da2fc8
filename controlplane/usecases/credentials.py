"""Showing and replacing an endpoint's keys."""

from __future__ import annotations

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import endpoint_name
from controlplane.domain.operations import Caller
from controlplane.domain.records import EndpointRecord
from controlplane.domain.revisions import revised
from controlplane.domain.specs import AuthMode
from controlplane.usecases.endpoints import existing_endpoint, refuse_deleting
from controlplane.usecases.keys import KeyName, KeyRing
from controlplane.usecases.ledger import Ledger
from controlplane.usecases.ports import Store
from controlplane.usecases.results import Keys


class CredentialUseCases:
    """What users can do with keys. Each call is written to the audit trail."""

    def __init__(self, store: Store, ledger: Ledger, keys: KeyRing) -> None:
        self._store = store
        self._ledger = ledger
        self._keys = keys

    async def list(self, name: str, caller: Caller) -> Keys:
        """Both keys.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidArgumentError: its clients use tokens.
            StoreError: the keys cannot be decrypted.
        """
        async with self._store.write() as transaction:
            record = await existing_endpoint(transaction, name)
            _refuse_tokens(record)
            sealed = await transaction.endpoints.sealed(record.uid)
            await self._ledger.note(transaction, "list_keys", endpoint_name(name), caller)
        return self._keys.open(record, sealed)

    async def regenerate(self, name: str, key: KeyName, value: str, caller: Caller) -> Keys:
        """Replace one key and answer both. The gateway and the instances refuse the old one within a second.

        Raises:
            NotFoundError: there is no such endpoint.
            BeingDeletedError: it is on its way out.
            InvalidArgumentError: its clients use tokens, or ``value`` makes no key.
            StoreError: the other key cannot be decrypted; this one was replaced, and the other wants replacing too.
        """
        async with self._store.write() as transaction:
            current = await existing_endpoint(transaction, name)
            refuse_deleting(current)
            _refuse_tokens(current)
            record, sealed = self._keys.replace(current, key, value)
            record = revised(record, self._ledger.now())
            await transaction.endpoints.save(record)
            await transaction.endpoints.seal(record.uid, sealed)
            await self._ledger.note(transaction, "regenerate_key", endpoint_name(name), caller, record.generation)
            transaction.tell(Change(ChangeKind.SPEC, name))
            stored = await transaction.endpoints.sealed(record.uid)
        return self._keys.open(record, stored)


def _refuse_tokens(record: EndpointRecord) -> None:
    if record.spec.auth_mode is not AuthMode.KEY:
        raise InvalidArgumentError(
            Violation("name", f"endpoint '{record.name}' takes tokens (aml_token) and has no keys"),
            hint="GetToken issues one, RevokeTokens ends all there are.",
            resource=endpoint_name(record.name),
        )
