"""The codecs of every value that is stored as text."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.operations import OperationError
from controlplane.domain.records import ClientKey, Report
from controlplane.domain.specs import DeploymentSpec, EndpointSpec, EnvironmentSpec, ModelSpec
from controlplane.store.codec import Codec

ENDPOINT_SPEC: Codec[EndpointSpec] = Codec(EndpointSpec)
DEPLOYMENT_SPEC: Codec[DeploymentSpec] = Codec(DeploymentSpec)
MODEL_SPEC: Codec[ModelSpec] = Codec(ModelSpec)
ENVIRONMENT_SPEC: Codec[EnvironmentSpec] = Codec(EnvironmentSpec)
TEMPLATE: Codec[InstanceTemplate] = Codec(InstanceTemplate)
REPORT: Codec[Report] = Codec(Report)
CLIENT_KEYS: Codec[tuple[ClientKey, ...]] = Codec(tuple[ClientKey, ...])
TRAFFIC: Codec[Mapping[str, int]] = Codec(Mapping[str, int])
OPERATION_ERROR: Codec[OperationError] = Codec(OperationError)
