"""What the gateways say of load, in Penstock's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Load:
    """Attempts at requests: a retried request is two. Waiting ones that have no connection yet are not counted."""

    in_progress: int = 0
    """Now (at most an interval ago)."""
    issued: int = 0
    """Sent within the latest interval. Envoy leaves out those of a cluster's very first interval."""
    succeeded: int = 0
    """Answered below 500 within the latest interval."""
    failed: int = 0
    """Answered from 500 on, or not at all, within the latest interval."""

    def __add__(self, other: Load) -> Load:
        return Load(
            self.in_progress + other.in_progress,
            self.issued + other.issued,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
        )


@dataclass(frozen=True, slots=True)
class DeploymentLoad:
    """The load of a deployment, summed over the gateways that reported lately."""

    now: Load = field(default_factory=Load)
    hosts: Mapping[str, Load] = field(default_factory=dict)
    """By address, as :attr:`gateway.routes.Host.address`; hosts without load are left out."""
    total: Load = field(default_factory=Load)
    """Since this control plane started; its ``in_progress`` is 0."""
    gateways: int = 0
    """How many gateways this is from."""
