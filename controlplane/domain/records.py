"""What the store holds of endpoints and deployments: the desired state, and the last report on the observed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.domain.instances import InstanceRecord, InstanceTemplate
from controlplane.domain.specs import DeploymentSpec, EndpointSpec
from controlplane.domain.status import Condition, ProvisioningState


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciler says of a resource. ``generation`` is the desired state it speaks of."""

    generation: int
    state: ProvisioningState
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One of an endpoint's keys as the platform needs it: who it stands for, and its digests. Never the key itself."""

    name: str
    """``primary`` or ``secondary``."""
    digest: str
    """Lower-case hex SHA-256 of the key, for the gateway."""
    salted_digest: str
    """Lower-case hex SHA-256 of the endpoint's salt bytes followed by the key, for the instances."""


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint as stored."""

    name: str
    uid: str
    etag: str
    generation: int
    """Counts changes of the desired state (spec, keys, deletion), from 1."""
    spec: EndpointSpec
    report: Report
    created: datetime
    updated: datetime
    deleting: bool = False
    salt: str = ""
    """Hex; of the salted key digests."""
    keys: tuple[ClientKey, ...] = ()
    effective_traffic: Mapping[str, int] = field(default_factory=dict)
    """The weights the gateway last acknowledged. They follow ``spec.traffic`` once every deployment in it answers."""
    tokens_not_before: int = 0
    """Tokens issued before this unix second are refused. 0 for an endpoint with keys."""


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment as stored, with its template resolved when the change was accepted."""

    endpoint: str
    name: str
    uid: str
    etag: str
    generation: int
    spec: DeploymentSpec
    template: InstanceTemplate
    report: Report
    created: datetime
    updated: datetime
    deleting: bool = False
    ready_instances: int = 0
    fallback: InstanceTemplate | None = None
    """The template of the latest generation that was reported SUCCEEDED: what runs on while an update cannot."""


@dataclass(frozen=True, slots=True)
class EndpointTree:
    """An endpoint with all that stands behind it, read in one transaction."""

    endpoint: EndpointRecord
    deployments: tuple[DeploymentRecord, ...] = ()
    instances: tuple[InstanceRecord, ...] = ()
