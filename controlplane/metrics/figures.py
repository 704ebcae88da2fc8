"""The figures as values, free of where they come from and where they go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from controlplane.domain.instances import InstanceState
from gateway.load import DeploymentLoad
from gateway.traffic import RequestFigures


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of one instance use, all together."""

    cpu_seconds: float
    """Since the instance started."""
    memory_bytes: int
    """Resident; memory that its processes share counts for each of them."""
    cpu_percent: float | None = None
    """Of all processors of this machine, between the two latest measurements; None after the first."""
    memory_percent: float = 0.0
    """Of this machine's memory."""


@dataclass(frozen=True, slots=True)
class InstanceFigures:
    """One instance."""

    id: str
    state: InstanceState
    in_progress: int | None = None
    """Requests it works on; None when no gateway reports."""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class DeploymentFigures:
    """One deployment."""

    endpoint: str
    name: str
    requests: RequestFigures
    load: DeploymentLoad | None
    instances: tuple[InstanceFigures, ...]

    @property
    def capacity(self) -> Mapping[InstanceState, int]:
        """Instances by state."""
        return Counter(instance.state for instance in self.instances)


@dataclass(frozen=True, slots=True)
class EndpointFigures:
    """One endpoint."""

    name: str
    at: datetime
    deployments: tuple[DeploymentFigures, ...]
    refused: RequestFigures
    """Answered by the gateway before it had chosen a deployment."""
    gateways: int
    """That reported their load lately."""


@dataclass(frozen=True, slots=True)
class GatewayFigures:
    """The gateways."""

    connected: int
    unrouted: Mapping[int, int]
    """Requests to no known endpoint, by status."""
    connections: int | None = None
    """Client connections of the gateway on this machine; None when it does not answer."""
    lost: int | None = None
    """Requests it could not tell us about."""


@dataclass(frozen=True, slots=True)
class PlatformFigures:
    """Everything."""

    version: str
    started: datetime
    endpoints: tuple[EndpointFigures, ...]
    gateway: GatewayFigures
