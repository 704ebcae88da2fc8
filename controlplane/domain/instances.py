"""Instances: what one is made from, what is recorded of it, and what is observed of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from controlplane.domain.names import Versioned
from controlplane.domain.specs import Asset, EnvironmentSpec, ModelType, ProbeSettings, RequestSettings


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model with the asset that holds its files."""

    name: Versioned
    asset: Asset
    type: ModelType = ModelType.CUSTOM


@dataclass(frozen=True, slots=True)
class InstanceTemplate:
    """Everything an instance is made from, every reference resolved. Equal templates make equal instances."""

    endpoint: str
    deployment: str
    model: ModelFiles | None = None
    code: Asset | None = None
    scoring_script: str = ""
    environment: EnvironmentSpec = field(default_factory=EnvironmentSpec)
    strict_environment: bool = False
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    request_settings: RequestSettings = field(default_factory=RequestSettings)
    liveness_probe: ProbeSettings = field(default_factory=ProbeSettings)
    readiness_probe: ProbeSettings = field(default_factory=ProbeSettings)
    instance_type: str = ""
    model_mount_path: str = ""
    takes_tokens: bool = False
    """Clients bring tokens, which the scorer needs a package more to verify."""

    @property
    def hash(self) -> str:
        """16 hex digits; another template has another. What only people read (tags, ...) does not count."""
        content = dataclasses.asdict(self)
        for unread in ("description", "tags", "properties", "anonymous"):
            del content["environment"][unread]
        if not self.takes_tokens:
            del content["takes_tokens"]  # as before there were tokens: what runs is not replaced for it
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class InstanceState(StrEnum):
    """What an instance does."""

    PENDING = "Pending"
    """Recorded, not started."""
    STARTING = "Starting"
    """Started; `init()` has not returned."""
    READY = "Ready"
    UNREADY = "Unready"
    """It answered once and does not now."""
    DRAINING = "Draining"
    """Told to finish what it has."""
    FAILED = "Failed"
    """It ended without being asked to, or its liveness probe gave up on it."""


@dataclass(frozen=True, slots=True)
class InstanceFailure:
    """Why an instance ended: a machine reason, one sentence, and the user's own last traceback or log lines."""

    reason: str
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """What the store keeps of an instance. It is written before the instance is started, so nothing is orphaned."""

    id: str
    """Unique, short (it is part of a socket's path): 12 lower-case letters and digits."""
    endpoint: str
    deployment: str
    deployment_uid: str
    template_hash: str
    created: datetime
    draining: bool = False
    """Once set it is never cleared: the gateway sends nothing more, then the instance is stopped."""


@dataclass(frozen=True, slots=True)
class InstanceObservation:
    """What a backend sees of an instance now. ``address`` is set once it can be reached."""

    id: str
    state: InstanceState
    template_hash: str
    address: str = ""
    """As :attr:`gateway.routes.Host.address`."""
    pid: int = 0
    started: datetime | None = None
    ready_since: datetime | None = None
    """Since when it has answered without a break; unset while it does not."""
    ended: datetime | None = None
    failure: InstanceFailure | None = None
    grpc_addresses: tuple[str, ...] = ()
    """As :attr:`gateway.routes.Host.grpc_addresses`."""
