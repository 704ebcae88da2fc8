"""Keeps the certificate that the gateway shows equal to two files, which may be replaced at any time.

The files are looked at each second. What cannot be used is told in one sentence, in the log and for as long as it is so
in ``penstock status``, and what was shown goes on being shown; a pair of which only one file was replaced yet is looked
at twice before anything is said.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from controlplane.domain.ports import Clock
from controlplane.settings import Settings
from gateway.certificate import Certificate, CertificateError, load_certificate
from gateway.dev_certificate import DevCertificate
from gateway.routes import RouteRefusedError

log = structlog.get_logger(__name__)

_WARNED_BEFORE_END = timedelta(days=7)
_DAY = timedelta(days=1)
Show = Callable[[Certificate], Awaitable[None]]
"""Gives the gateway a certificate."""
_Identity = tuple[tuple[int, int, int], ...]
"""Inode, time of change in ns and size of each file."""


class GatewayCertificate:
    """Watches a chain and its key. :meth:`load` once, then :meth:`start`; :meth:`close` at the end."""

    def __init__(
        self,
        chain: Path,
        key: Path,
        show: Show,
        clock: Clock,
        *,
        renew: Callable[[datetime], None] = lambda _now: None,
        period_seconds: float = 1.0,
    ) -> None:
        """``renew`` is called now and then, and may write the files anew."""
        self._chain, self._key = chain, key
        self._show = show
        self._clock = clock
        self._renew = renew
        self._period = period_seconds
        self._renewed: datetime | None = None
        self._shown: _Identity | None = None
        self._doubted: _Identity | None = None
        self._told: _Identity | None = None
        self._expires: datetime | None = None
        self._warned: datetime | None = None
        self._problem = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str:
        """What the operator must do something about, in one sentence; empty: nothing."""
        return self._problem or self._end_that_is_near()

    async def load(self) -> None:
        """Show what is there.

        Raises:
            CertificateError: it is not usable.
            OSError: a certificate of our own cannot be written.
        """
        await self._keep()
        seen = _identity(self._chain, self._key)
        await self._present(await self._read(), seen)

    def start(self) -> None:
        """Watch from now on."""
        self._task = asyncio.create_task(self._forever(), name="certificate")

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Show what the files hold now, if it is new and can be used."""
        await self._keep()
        seen = _identity(self._chain, self._key)
        if seen == self._shown:
            self._problem = ""
            self._warn()
            return
        try:
            certificate = await self._read()
        except CertificateError as error:
            if seen == self._doubted:
                self._problem = f"The new certificate cannot be used, the present one stays: {error}."
                if seen != self._told:
                    self._told = seen
                    log.warning("the new certificate cannot be used, the present one stays", reason=str(error))
            self._doubted = seen
            return
        await self._present(certificate, seen)
        log.info("clients are shown a new certificate", expires=certificate.expires.isoformat())

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await self.look_again()

    async def look_again(self) -> None:
        """As :meth:`look`; what goes wrong is told, and tried again the next time."""
        try:
            await self.look()
        except RouteRefusedError as refused:
            self._problem = f"The gateways do not show the new certificate yet: {refused}"
            log.warning("the gateways do not show the new certificate yet", reason=str(refused))
        except OSError as error:
            self._problem = f"The development certificate cannot be renewed: {error}."
            log.warning("the development certificate cannot be renewed", reason=str(error))

    async def _keep(self) -> None:
        now = self._clock.now()
        if self._renewed is None or now - self._renewed >= _DAY:
            await asyncio.to_thread(self._renew, now)
            self._renewed = now

    async def _read(self) -> Certificate:
        return await asyncio.to_thread(load_certificate, self._chain, self._key, self._clock.now())

    async def _present(self, certificate: Certificate, seen: _Identity) -> None:
        await self._show(certificate)
        self._shown, self._expires = seen, certificate.expires
        self._problem, self._warned = "", None
        self._warn()

    def _warn(self) -> None:
        now, sentence = self._clock.now(), self._end_that_is_near()
        if sentence and (self._warned is None or now - self._warned >= _DAY):
            self._warned = now
            log.warning("the certificate must be replaced", reason=sentence)

    def _end_that_is_near(self) -> str:
        """The sentence about it; empty while it is far."""
        now, end = self._clock.now(), self._expires
        if end is None or end - now >= _WARNED_BEFORE_END:
            return ""
        verb = "expires" if now < end else "expired"
        return f"The certificate that clients are shown {verb} on {end:%Y-%m-%d %H:%M} UTC: replace its files."


def gateway_certificate(settings: Settings, show: Show, clock: Clock) -> GatewayCertificate | None:
    """What clients are shown; None without TLS.

    Raises:
        CertificateError: the settings contradict each other.
    """
    if settings.tls_dev:
        if settings.tls_cert or settings.tls_key:
            raise CertificateError("a development certificate and one of your own cannot both be shown")
        files = DevCertificate(settings.home.tls)
        names = tuple(dict.fromkeys((settings.public_host, "localhost", "127.0.0.1", "::1", socket.gethostname())))
        return GatewayCertificate(files.chain, files.key, show, clock, renew=lambda now: files.ensure(names, now))
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise CertificateError("a certificate needs its key, and a key its certificate")
    chain, key = (file.expanduser().absolute() for file in (settings.tls_cert, settings.tls_key))
    return GatewayCertificate(chain, key, show, clock)


def _identity(*files: Path) -> _Identity:
    return tuple(_one(file) for file in files)


def _one(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
