"""Desired state: what users ask for, as frozen values with the contract's defaults and ranges.

Sources: the contract pages on YAML and behaviours. Units are in the field names or beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.names import Versioned


class AuthMode(StrEnum):
    """How clients prove who they are."""

    KEY = "key"
    AML_TOKEN = "aml_token"


class AssetKind(StrEnum):
    """Whether uploaded content is one file or a folder."""

    FILE = "file"
    FOLDER = "folder"


class ModelType(StrEnum):
    """How a model's files are to be read."""

    CUSTOM = "custom_model"
    MLFLOW = "mlflow_model"
    TRITON = "triton_model"


@dataclass(frozen=True, slots=True)
class Asset:
    """Uploaded content by its hash."""

    sha256: str
    """64 lower-case hex digits of its manifest: kind, name and the sha256 of what was sent
    (:class:`controlplane.domain.uploads.UploadHeader`)."""
    kind: AssetKind
    basename: str
    size_bytes: int

    @property
    def resource_name(self) -> str:
        """``assets/sha256:HEX``."""
        return f"assets/sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """What is asked of an endpoint. Traffic in percent by deployment; zeros may be present."""

    auth_mode: AuthMode = AuthMode.KEY
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror_traffic: Mapping[str, int] = field(default_factory=dict)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    retained: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How requests are admitted."""

    request_timeout_ms: int = 5000
    max_concurrent_requests_per_instance: int = 1
    max_queue_wait_ms: int = 500


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How an instance is probed; seconds and counts.

    Probing starts at once and a success counts at once, so that a quick instance serves quickly;
    failures count only after ``initial_delay_seconds``.
    """

    initial_delay_seconds: float = 10.0
    period_seconds: float = 10.0
    timeout_seconds: float = 2.0
    success_threshold: int = 1
    failure_threshold: int = 30


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is asked of a deployment."""

    model: Versioned | None = None
    code_asset: str = ""
    """sha256 of the uploaded code folder; empty without code."""
    scoring_script: str = ""
    environment: Versioned | None = None
    strict_environment: bool = False
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    instance_type: str = ""
    instance_count: int = 1
    request_settings: RequestSettings = field(default_factory=RequestSettings)
    liveness_probe: ProbeSettings = field(default_factory=ProbeSettings)
    readiness_probe: ProbeSettings = field(default_factory=ProbeSettings)
    model_mount_path: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    retained: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A registered model version."""

    asset: str
    """sha256 of its files."""
    type: ModelType = ModelType.CUSTOM
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False


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
class ImageBuild:
    """A container build: the sha256 of its context, and the Dockerfile's path inside."""

    asset: str
    dockerfile_path: str = "Dockerfile"


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What code runs in: packages (one of two spellings), an image, or both."""

    conda_file: str = ""
    """The text of a conda environment file."""
    pip_requirements: str = ""
    """The text of a pip requirements file."""
    image: str = ""
    build: ImageBuild | None = None
    inference_config: InferenceConfig | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
