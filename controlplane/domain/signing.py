"""Tokens and the keys that sign them: who signs now, which key is due, which may be forgotten. Pure.

A key is published (to every gateway and every instance) before it signs, and stays published until the last token it
signed has expired. So whatever a client holds can be checked at any moment of a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ISSUER = "penstock"
AUDIENCE = "penstock-scoring"
PUBLISH_LEAD = timedelta(seconds=10)
"""How long a new key is known everywhere before it signs: instances read it within a second."""
EXPIRY_MARGIN = timedelta(seconds=30)
"""A key outlives its last token by this, for gateways whose clocks are behind."""
MAX_AHEAD_S = 3
"""How many seconds revocations may run ahead of the clock: each takes a whole second, and clocks allow five."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """ECDSA on P-256; both coordinates in base64url."""

    kid: str
    x: str
    y: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What is known of a key beside its private part, which the store keeps sealed."""

    public: PublicKey
    created: datetime
    signs_from: datetime | None = None
    """None until it is published."""
    last_expiry: datetime | None = None
    """When the last token signed with it expires."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What a rotation has to do now."""

    create: bool = False
    remove: tuple[str, ...] = ()
    """Key ids."""


def signer(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs at ``now``: the one that began last."""
    began = [(key.signs_from, key.public.kid, key) for key in keys if key.signs_from and key.signs_from <= now]
    return max(began)[2] if began else None


def plan_keys(keys: Sequence[SigningKey], now: datetime, rotation: timedelta) -> KeyPlan:
    """What is due: a new key ``rotation`` after the present one began; the end of those whose tokens have expired."""
    present = signer(keys, now)
    if present is None or present.signs_from is None:
        return KeyPlan()
    waiting = any(key.signs_from is None or key.signs_from > now for key in keys)
    past = [key for key in keys if key.signs_from and key.signs_from <= now and key is not present]
    return KeyPlan(
        create=not waiting and now - present.signs_from >= rotation,
        remove=tuple(
            key.public.kid for key in past if key.last_expiry is None or key.last_expiry + EXPIRY_MARGIN < now
        ),
    )


def issue_time(now: datetime, not_before: int) -> int:
    """``iat`` of a token issued at ``now``, unix seconds: never one that a revocation has refused already."""
    return max(int(now.timestamp()), not_before)


def revoked_before(now: datetime, not_before: int) -> int:
    """The bound that refuses every token :func:`issue_time` can have given a time until ``now``."""
    return issue_time(now, not_before) + 1
