"""Issuing and revoking an endpoint's tokens. A token is never stored; what a revocation stores is a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import InvalidArgumentError, ResourceExhaustedError, Violation
from controlplane.domain.names import endpoint_name
from controlplane.domain.operations import Caller
from controlplane.domain.records import EndpointRecord
from controlplane.domain.revisions import revised
from controlplane.domain.signing import AUDIENCE, ISSUER, MAX_AHEAD_S, issue_time, revoked_before
from controlplane.domain.specs import AuthMode
from controlplane.usecases.endpoints import existing_endpoint, refuse_deleting
from controlplane.usecases.ledger import Ledger
from controlplane.usecases.ports import Store
from controlplane.usecases.signing import SigningKeys

REFRESH_AFTER = 0.8
"""The part of its life after which a client should ask for the next token."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token with the times a client needs."""

    text: str
    expires: datetime
    refresh_after: datetime


class TokenUseCases:
    """What users can do with tokens. Each call is written to the audit trail."""

    def __init__(self, store: Store, ledger: Ledger, keys: SigningKeys, lifetime: timedelta) -> None:
        """``lifetime`` is how long a token opens its endpoint."""
        self._store = store
        self._ledger = ledger
        self._keys = keys
        self._lifetime = lifetime

    async def issue(self, name: str, caller: Caller) -> AccessToken:
        """A token for the caller. The gateway and the instances accept it at once.

        Raises:
            NotFoundError: there is no such endpoint.
            BeingDeletedError: it is on its way out.
            InvalidArgumentError: its clients use keys.
            StoreError: the signing key cannot be decrypted.
        """
        await self._keys.turn(needed=True)
        async with self._store.write() as transaction:
            record = await existing_endpoint(transaction, name)
            refuse_deleting(record)
            _refuse_keys(record)
            now = self._ledger.now()
            key = await self._keys.current(transaction, now)
            if key is None:
                raise ResourceExhaustedError("There is no signing key yet.", hint="Try again in a moment.")
            issued = datetime.fromtimestamp(issue_time(now, record.tokens_not_before), UTC)
            expires = issued + self._lifetime
            if key.last_expiry is None or key.last_expiry < expires:
                # The key must be known until then; see plan_keys.
                await transaction.signing_keys.save(replace(key, last_expiry=expires))
            private = await self._keys.private(transaction, key)
            await self._ledger.note(transaction, "get_token", endpoint_name(name), caller)
        text = await self._keys.sign(key, private, _claims(record, caller, now, issued, expires))
        return AccessToken(text, expires, issued + REFRESH_AFTER * self._lifetime)

    async def revoke(self, name: str, caller: Caller) -> datetime:
        """Refuse every token issued until now, within a second; the moment from which on new ones are issued.

        Raises:
            NotFoundError: there is no such endpoint.
            BeingDeletedError: it is on its way out.
            InvalidArgumentError: its clients use keys.
            ResourceExhaustedError: they were revoked several times within a few seconds.
        """
        async with self._store.write() as transaction:
            current = await existing_endpoint(transaction, name)
            refuse_deleting(current)
            _refuse_keys(current)
            now = self._ledger.now()
            bound = revoked_before(now, current.tokens_not_before)
            if bound > now.timestamp() + MAX_AHEAD_S:
                raise ResourceExhaustedError(
                    f"The tokens of endpoint '{name}' were revoked several times just now.",
                    hint="Try again in a few seconds.",
                    resource=endpoint_name(name),
                )
            record = revised(replace(current, tokens_not_before=bound), now)
            await transaction.endpoints.save(record)
            await self._ledger.note(transaction, "revoke_tokens", endpoint_name(name), caller, record.generation)
            transaction.tell(Change(ChangeKind.SPEC, name))
        return datetime.fromtimestamp(bound, UTC)


def _claims(
    record: EndpointRecord, caller: Caller, now: datetime, issued: datetime, expires: datetime
) -> dict[str, str | int]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": caller.actor or "token",
        "endpoint": record.name,
        "iat": int(issued.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(expires.timestamp()),
    }


def _refuse_keys(record: EndpointRecord) -> None:
    if record.spec.auth_mode is not AuthMode.AML_TOKEN:
        raise InvalidArgumentError(
            Violation("name", f"endpoint '{record.name}' takes keys, not tokens"), resource=endpoint_name(record.name)
        )
