"""Token-signing keys in the database: the public part in clear, the private one sealed (see :mod:`.vault`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select, update

from controlplane.domain.signing import PublicKey, SigningKey
from controlplane.store.database import Executor
from controlplane.store.tables import signing_keys


class SigningKeyRepository:
    """Signing keys within one transaction."""

    def __init__(self, connection: Executor) -> None:
        self._connection = connection

    async def all(self) -> Sequence[SigningKey]:
        """Every one, the oldest first."""
        columns = [column for column in signing_keys.c if column is not signing_keys.c.sealed]
        order = signing_keys.c.created, signing_keys.c.kid
        rows = await self._connection.execute(select(*columns).order_by(*order))
        return [
            SigningKey(PublicKey(row.kid, row.x, row.y), row.created, row.signs_from, row.last_expiry) for row in rows
        ]

    async def add(self, key: SigningKey, sealed: bytes) -> None:
        """Store a new one."""
        public = {"kid": key.public.kid, "x": key.public.x, "y": key.public.y}
        times = {"created": key.created, "signs_from": key.signs_from, "last_expiry": key.last_expiry}
        await self._connection.execute(insert(signing_keys), public | times | {"sealed": sealed})

    async def save(self, key: SigningKey) -> None:
        """Store when it signs, and until when what it signed lives."""
        await self._connection.execute(
            update(signing_keys)
            .where(signing_keys.c.kid == key.public.kid)
            .values(signs_from=key.signs_from, last_expiry=key.last_expiry)
        )

    async def remove(self, kids: Collection[str]) -> None:
        """Forget some, with their private parts."""
        await self._connection.execute(delete(signing_keys).where(signing_keys.c.kid.in_(list(kids))))

    async def sealed(self, kid: str) -> bytes:
        """The private part of a key that is there."""
        query = select(signing_keys.c.sealed).where(signing_keys.c.kid == kid)
        return bytes((await self._connection.execute(query)).scalar_one())
