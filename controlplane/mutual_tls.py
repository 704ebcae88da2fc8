"""Mutual TLS as the composition root needs it: the authority of a home, and what is made with it.

A home has an authority from the first start with ``--ads-address`` or ``--instance-host`` on, and keeps it: instances
and gateways that were given certificates may be there without the flag, too.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta

import grpc
import structlog

from controlplane.backends.process.over_tcp import InstanceTls
from controlplane.domain.ports import Clock
from controlplane.pki import identity
from controlplane.pki.authority import Authority, Leaf, Use
from controlplane.pki.enrolments import Enrolments
from controlplane.pki.issuer import Issuer, Renewing
from controlplane.settings import Settings
from gateway import enrolment
from gateway.ads_port import AdsPort, credentials
from gateway.certificate import Certificate
from gateway.renewal import Renewal
from gateway.routes import RouteRefusedError
from gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

_SHARES = 20
"""How often in a certificate's life it is looked whether it is to be renewed."""
_LONGEST_PAUSE_SECONDS = 1.0
"""How long a gateway that is expelled goes on being told things, at most."""
_NOTICE = timedelta(days=90)
Show = Callable[[Certificate, bytes], Awaitable[None]]
"""Gives gateways what they show to instances, and the authority (PEM) they trust."""


class InstanceHostError(Exception):
    """The address for instances is not this machine's."""

    reason = "InstanceHostUnusable"
    hint = "--instance-host takes an IP address of this machine by which gateways reach it."


def is_wanted(settings: Settings) -> bool:
    """Whether this home has an authority, or is to have one."""
    return bool(settings.ads_address or settings.instance_host) or settings.home.authority.exists()


class MutualTls:
    """The authority's certificates, kept new. :meth:`load` once, then :meth:`start`; :meth:`close` at the end."""

    def __init__(
        self, settings: Settings, show: Show, clock: Clock, *, look: Callable[[], None] = lambda: None
    ) -> None:
        """Opens the authority, or makes it. ``look`` is called now and then: some gateway may have been expelled.

        Raises:
            AuthorityError: it is damaged or has expired.
            OSError: the home cannot be written.
        """
        self._settings, self._show, self._look = settings, show, look
        home = settings.home
        life = timedelta(seconds=settings.certificate_seconds)
        parts = Authority.open(home.authority, clock.now())
        # What a gateway that was expelled has of its own may live for months, and opens no instance.
        gateways = Authority.open(home.gateway_authority, clock.now())
        self.issuer, self._admitting = Issuer(parts, clock, life), Issuer(gateways, clock, life)
        self._clock, self._ends = clock, min(parts.expires, gateways.expires)
        self._clients = Renewing(self.issuer, identity.GATEWAYS, Use.CALL)
        self._enrolments = Enrolments(home.enrolments)
        self._shown: Leaf | None = None
        self._refusal = ""
        self._task: asyncio.Task[None] | None = None

    def port(self, gateway: GatewaySettings) -> AdsPort | None:
        """Where gateways of other machines connect, None for nowhere; what they share is in ``gateway``."""
        address = self._settings.ads_address
        if not address:
            return None
        own = Renewing(self.issuer, identity.CONTROL_PLANE, Use.ANSWER, (identity.SERVER_NAME,))

        def pair() -> tuple[bytes, bytes]:
            leaf = own.current()
            return leaf.chain, leaf.key

        def enrolled(peer: str) -> GatewaySettings | None:
            found = self._enrolments.of_peer(peer)
            if found is None:
                return None
            return enrolment.settings_of(gateway, found.name, found.listen_address, found.listen_port, found.tls_port)

        return AdsPort(address, credentials(pair, self._admitting.authority), enrolled)

    def services(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """What gateways of other machines call to renew their certificates."""
        return (Renewal(self._next_of).service(),)

    def instances(self) -> InstanceTls:
        """For the backend."""
        host, chance = self._settings.instance_host, random.Random()  # noqa: S311  # chooses ports; nothing secret
        return InstanceTls(self.issuer, host, self._settings.instance_port_range, chance)

    async def load(self) -> None:
        """Give gateways what they show to instances.

        Raises:
            InstanceHostError: instances cannot listen where they are to.
        """
        host = self._settings.instance_host
        if host and not _is_ours(host):
            raise InstanceHostError(f"{host} is no address of this machine, where instances could listen")
        await self._show_latest()

    @property
    def problem(self) -> str:
        """What an operator must do something about, a sentence; empty if nothing."""
        if self._clock.now() >= self._ends - _NOTICE:
            return (
                f"The platform's own authority expires on {self._ends:%Y-%m-%d}: before that, remove "
                f"{self._settings.home.authority.parent}, restart, and enroll the gateways of other machines again."
            )
        if self._refusal:
            return f"What gateways show to instances cannot be renewed: {self._refusal.removesuffix('.')}."
        if self._settings.ads_address and not self._settings.instance_host:
            return "Gateways of other machines cannot reach instances here: start with --instance-host ADDRESS."
        return ""

    def start(self) -> None:
        """Renew from now on."""
        self._task = asyncio.create_task(self._forever(), name="mutual tls")

    async def close(self) -> None:
        """Renew no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _next_of(self, peer: str) -> bytes:
        found = self._enrolments.of_peer(peer)
        life = timedelta(days=found.days) if found is not None else None
        return self._admitting.issue(identity.gateway(peer), Use.CALL, life=life).pem

    async def _forever(self) -> None:
        pause = min(_LONGEST_PAUSE_SECONDS, self.issuer.life.total_seconds() / _SHARES)
        while True:
            await asyncio.sleep(pause)
            self._look()
            if self._clients.current() is self._shown:
                continue
            try:
                await self._show_latest()
            except RouteRefusedError as refused:
                told, self._refusal = self._refusal, str(refused)
                if told != self._refusal:
                    log.warning("the gateways do not show the renewed certificate yet", reason=self._refusal)
            else:
                self._refusal = ""
                log.info("renewed what gateways show to instances")

    async def _show_latest(self) -> None:
        leaf = self._clients.current()
        await self._show(Certificate(leaf.chain, leaf.key, leaf.expires), self.issuer.authority)
        self._shown = leaf


def _is_ours(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True
