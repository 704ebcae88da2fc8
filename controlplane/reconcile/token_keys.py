"""The loop that keeps every gateway able to check tokens: it publishes signing keys and lets published ones sign.

Nothing is read by it before an endpoint takes tokens. Level-triggered like the others: what was published is known by
comparing, so it may be called, killed and called again at any line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from controlplane.domain.ports import SigningKeys
from controlplane.domain.signing import AUDIENCE, ISSUER, PublicKey
from gateway.routes import PublicKey as GatewayKey
from gateway.routes import Router, RouteRefusedError, TokenTrust

log = structlog.get_logger(__name__)


class TokenKeys:
    """What the gateways know of signing keys, kept equal to the store."""

    def __init__(
        self, keys: SigningKeys, router: Router, *, changed: Callable[[], None], period_seconds: float = 5.0
    ) -> None:
        """``changed`` is called when the keys are others than before: instances must hear of them too.

        ``period_seconds`` is how often rotation is looked after.
        """
        self._keys = keys
        self._router = router
        self._changed = changed
        self._period = period_seconds
        self._published: TokenTrust | None = None
        self._publishing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def known(self) -> tuple[PublicKey, ...]:
        """The keys that whoever checks tokens must know, the oldest first. Makes the first."""
        return tuple(key.public for key in await self._keys.turn(needed=True))

    async def publish(self, *, needed: bool = True) -> None:
        """Return once every gateway knows them.

        Raises:
            RouteRefusedError: a gateway did not take them.
        """
        async with self._publishing:
            keys = await self._keys.turn(needed=needed)
            trust = TokenTrust(ISSUER, AUDIENCE, tuple(GatewayKey(k.public.kid, k.public.x, k.public.y) for k in keys))
            waiting = [key.public.kid for key in keys if key.signs_from is None]
            if not keys or (trust == self._published and not waiting):
                return
            await self._router.set_jwks(trust)
            first, self._published = self._published is None, trust
            if waiting:
                await self._keys.published(waiting)
                log.info("a new key signs tokens", kid=waiting[-1])
        if not first:
            self._changed()

    def start(self) -> None:
        """Look after rotation from now on."""
        self._task = asyncio.create_task(self._forever(), name="token keys")

    async def close(self) -> None:
        """Stop; what was published stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            try:
                await self.publish(needed=False)
            except RouteRefusedError as refused:
                log.warning("the gateways do not know the present signing keys yet", reason=str(refused))
            except Exception:
                log.exception("signing keys could not be looked after, and will be tried again")
