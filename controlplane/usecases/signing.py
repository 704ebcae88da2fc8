"""The keys that sign tokens, in the store: made when needed, replaced on schedule, forgotten when they may be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from controlplane.domain.ports import Clock
from controlplane.domain.signing import PUBLISH_LEAD, SigningKey, plan_keys, signer
from controlplane.usecases.ports import Randomness, Store, TokenSigner, Transaction, Vault

_VAULT_CONTEXT = "token-signing"


class SigningKeys:
    """Every call is one transaction, but for :meth:`current`, which joins its caller's."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        randomness: Randomness,
        clock: Clock,
        algorithm: TokenSigner,
        rotation: timedelta,
    ) -> None:
        """``rotation`` is how long a key signs before another takes its place."""
        self._store = store
        self._vault = vault
        self._randomness = randomness
        self._clock = clock
        self._algorithm = algorithm
        self._rotation = rotation

    async def turn(self, *, needed: bool) -> Sequence[SigningKey]:
        """Do what is due, and return every key that must be known, the oldest first.

        Without any key one is made if it is ``needed``, and signs at once: nothing can have been told of another.
        """
        async with self._store.read() as transaction:
            keys = await transaction.signing_keys.all()
        now = self._clock.now()
        plan = plan_keys(keys, now, self._rotation)
        if not plan.create and not plan.remove and (keys or not needed):
            return keys
        new, sealed = await asyncio.to_thread(self._make, now)
        async with self._store.write() as transaction:
            # Read again: another call may have done it meanwhile.
            keys = await transaction.signing_keys.all()
            plan = plan_keys(keys, now, self._rotation)
            if plan.create or (needed and not keys):
                await transaction.signing_keys.add(replace(new, signs_from=None if keys else now), sealed)
            await transaction.signing_keys.remove(plan.remove)
            return await transaction.signing_keys.all()

    async def published(self, kids: Sequence[str]) -> None:
        """Everybody who checks tokens knows these keys now: those that waited for it sign from a moment on."""
        async with self._store.write() as transaction:
            for key in await transaction.signing_keys.all():
                if key.public.kid in kids and key.signs_from is None:
                    begins = self._clock.now() + PUBLISH_LEAD
                    await transaction.signing_keys.save(replace(key, signs_from=begins))

    async def current(self, transaction: Transaction, now: datetime) -> SigningKey | None:
        """The key that signs now; None before the first was made."""
        return signer(await transaction.signing_keys.all(), now)

    async def sign(self, key: SigningKey, private: str, claims: Mapping[str, str | int]) -> str:
        """A token with these claims."""
        return await asyncio.to_thread(self._algorithm.sign, key.public, private, claims)

    async def private(self, transaction: Transaction, key: SigningKey) -> str:
        """Its private part.

        Raises:
            StoreError: it cannot be decrypted.
        """
        return self._vault.open(_VAULT_CONTEXT, key.public.kid, await transaction.signing_keys.sealed(key.public.kid))

    def _make(self, now: datetime) -> tuple[SigningKey, bytes]:
        kid = self._randomness.uid()
        public, private = self._algorithm.generate(kid)
        return SigningKey(public, now), self._vault.seal(_VAULT_CONTEXT, kid, private)
