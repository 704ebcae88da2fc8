"""YAML in, typed values out, mistakes with file:line:col.

Users bring the files they have, in either of two dialects; both load unmodified, and what cannot be honoured is
refused at its line instead of ignored. Reading has no effect and talks to nobody, so everything that can be known to
be wrong is said before anything is sent.
"""

from penstock.manifest.load import Loaded, Text, load_deployment, load_endpoint, load_environment, load_model
from penstock.manifest.overrides import Flag
from penstock.manifest.traffic import TrafficError, parse_traffic
from penstock.manifest.values import (
    AuthMode,
    Code,
    HttpRoute,
    InferenceConfig,
    ManifestDeployment,
    ManifestEndpoint,
    ManifestEnvironment,
    ManifestModel,
    ModelType,
    ProbeSettings,
    Registered,
    RequestSettings,
)

__all__ = [
    "AuthMode",
    "Code",
    "Flag",
    "HttpRoute",
    "InferenceConfig",
    "Loaded",
    "ManifestDeployment",
    "ManifestEndpoint",
    "ManifestEnvironment",
    "ManifestModel",
    "ModelType",
    "ProbeSettings",
    "Registered",
    "RequestSettings",
    "Text",
    "TrafficError",
    "load_deployment",
    "load_endpoint",
    "load_environment",
    "load_model",
    "parse_traffic",
]
