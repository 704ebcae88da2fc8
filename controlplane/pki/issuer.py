"""Certificates that are never old: whoever asks for one gets one that has at least half of its life before it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

from controlplane.domain.ports import Clock
from controlplane.pki.authority import Authority, Leaf, Use


class Issuer:
    """Signs for ``life``, from now on."""

    def __init__(self, authority: Authority, clock: Clock, life: timedelta) -> None:
        self._authority, self._clock = authority, clock
        self.life = life

    @property
    def authority(self) -> bytes:
        """The authority's certificate, PEM."""
        return self._authority.pem

    def issue(self, identity: str, use: Use, hosts: Sequence[str] = (), life: timedelta | None = None) -> Leaf:
        """See :meth:`Authority.issue`."""
        return self._authority.issue(identity, use, self._clock.now(), life or self.life, hosts)

    def is_due(self, leaf: Leaf) -> bool:
        """Whether half of its life has passed."""
        return self._clock.now() >= leaf.renewed_from

    def is_due_pem(self, pem: bytes) -> bool:
        """The same of a certificate that was written down; what is none, or another authority's, is due at once."""
        return self._clock.now() >= self._authority.renewed_from(pem)


class Renewing:
    """One identity's latest certificate. Any thread may ask."""

    def __init__(self, issuer: Issuer, identity: str, use: Use, hosts: Sequence[str] = ()) -> None:
        self._issuer, self._identity, self._use, self._hosts = issuer, identity, use, tuple(hosts)
        self._lock = threading.Lock()
        self._leaf: Leaf | None = None

    def current(self) -> Leaf:
        """The one to show now; the same as before until it is to be replaced."""
        with self._lock:
            if self._leaf is None or self._issuer.is_due(self._leaf):
                self._leaf = self._issuer.issue(self._identity, self._use, self._hosts)
            return self._leaf
