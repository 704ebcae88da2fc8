"""What each gateway has, in plain data: ``penstock gateway config`` must answer "why is it not as I said"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ResourceState(StrEnum):
    """How far one resource has come on one gateway."""

    ACKED = "acked"
    PENDING = "pending"
    """Due, or sent and not answered yet."""
    REJECTED = "rejected"
    """Refused; the gateway keeps the version it had."""


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource on one gateway."""

    kind: str
    """``cluster``, ``endpoints``, ``listener``, ``scoped_route``, ``route`` or ``secret``."""
    name: str
    state: ResourceState
    version: str = ""
    """Hash of the content that was sent last; empty when none was."""
    reason: str = ""
    """Of a rejected one, in the gateway's words, scrubbed."""


@dataclass(frozen=True, slots=True)
class GatewayView:
    """One connected gateway. During a hot restart there are two of the same name."""

    node_id: str
    version: str
    """Of Envoy, such as ``1.40.0``; empty when it did not say."""
    connected_s: float
    """Seconds since it connected."""
    late: bool
    """It did not acknowledge in time, so changes do not wait for it until it has caught up."""
    listener_error: str
    """Why it accepts no requests, such as its port being taken; empty while it does."""
    counts: Mapping[str, Counter[ResourceState]]
    """Kind -> how many are in each state."""
    resources: tuple[ResourceView, ...]
    """What is pending or rejected, and the rest of the endpoint that was asked for."""
