"""What a manifest says, as frozen values. None and empty mean "not said": the platform knows the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from penstock.errors import Position

_NOWHERE = Position("")


class AuthMode(StrEnum):
    """How an endpoint's clients prove who they are."""

    KEY = "key"
    AML_TOKEN = "aml_token"


class ModelType(StrEnum):
    """How a model's files are to be read."""

    CUSTOM = "custom_model"
    MLFLOW = "mlflow_model"
    TRITON = "triton_model"


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model or environment. ``version`` may be ``latest``."""

    name: str
    version: str

    def __str__(self) -> str:
        """As people write it."""
        return f"azureml:{self.name}@latest" if self.version == "latest" else f"azureml:{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class ManifestModel:
    """A model to register. Without a name it is registered in passing, for one deployment."""

    path: Path
    """An existing file or folder, absolute."""
    name: str = ""
    version: str = ""
    """Empty: the next integer, or the latest one if that holds the same files."""
    type: ModelType = ModelType.CUSTOM
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    at: Position = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A port and a path of a container that brings its own server."""

    port: int
    path: str


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Where a container of the user's own answers."""

    liveness_route: HttpRoute | None = None
    readiness_route: HttpRoute | None = None
    scoring_route: HttpRoute | None = None


@dataclass(frozen=True, slots=True)
class ManifestEnvironment:
    """An environment to register. Without a name it is registered in passing, for one deployment."""

    name: str = ""
    version: str = ""
    conda_file: str = ""
    """The text of a conda environment file."""
    image: str = ""
    inference_config: InferenceConfig | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Code:
    """The user's code: an existing folder (absolute) and the script inside it."""

    folder: Path
    scoring_script: str


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How requests are admitted."""

    request_timeout_ms: int | None = None
    max_concurrent_requests_per_instance: int | None = None
    max_queue_wait_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How an instance is probed; seconds and counts."""

    initial_delay: float | None = None
    period: float | None = None
    timeout: float | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None


@dataclass(frozen=True, slots=True)
class ManifestDeployment:
    """A deployment as written."""

    name: str
    endpoint_name: str = ""
    model: Registered | ManifestModel | None = None
    code: Code | None = None
    environment: Registered | ManifestEnvironment | None = None
    strict_environment: bool = False
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    instance_type: str = ""
    instance_count: int | None = None
    request_settings: RequestSettings | None = None
    liveness_probe: ProbeSettings | None = None
    readiness_probe: ProbeSettings | None = None
    model_mount_path: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    retained: Mapping[str, str] = field(default_factory=dict)
    """What was written under keys without meaning here, as JSON."""
    at: Position = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ManifestEndpoint:
    """An endpoint as written; ``deployments`` only in the 2021 form."""

    name: str
    auth_mode: AuthMode = AuthMode.KEY
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror_traffic: Mapping[str, int] = field(default_factory=dict)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    retained: Mapping[str, str] = field(default_factory=dict)
    deployments: tuple[ManifestDeployment, ...] = ()
    at: Position = field(default=_NOWHERE, compare=False)
