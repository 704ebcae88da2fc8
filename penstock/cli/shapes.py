"""The API's resources as the JSON that ``az ml`` users know: its field names, its words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from penstock.names import reference, short_name
from penstock.v1 import common_pb2, deployment_pb2, endpoint_pb2, environment_pb2, instance_pb2, model_pb2
from penstock.v1.endpoint_service_pb2 import EndpointKeys, EndpointToken
from penstock.v1.platform_service_pb2 import PlatformStatus


def endpoint(message: endpoint_pb2.Endpoint, deployments: Iterable[str]) -> dict[str, Any]:
    """An endpoint; ``deployments`` are the short names of those behind it, shown with 0 where they have no traffic."""
    aml = message.auth_mode == endpoint_pb2.AUTH_MODE_AML_TOKEN
    return {
        "id": message.name,
        "name": short_name(message.name),
        "auth_mode": "aml_token" if aml else "key",
        "kind": "Managed",
        "provisioning_state": state(message.provisioning_state),
        "scoring_uri": message.scoring_uri,
        "openapi_uri": message.openapi_uri,
        "traffic": dict.fromkeys(sorted(deployments), 0) | dict(sorted(message.traffic.items())),
        "mirror_traffic": dict(sorted(message.mirror_traffic.items())),
        "description": message.description,
        "tags": dict(message.tags),
        "properties": dict(message.properties),
        **_status(message.status_message, message.conditions),
        **_retained(message.retained),
    }


def endpoint_2021(message: endpoint_pb2.Endpoint, deployments: list[deployment_pb2.Deployment]) -> dict[str, Any]:
    """The same in the 2021 dialect, with its deployments."""
    shown = endpoint(message, [short_name(d.name) for d in deployments])
    return {**shown, "swagger_uri": message.openapi_uri, "deployments": [deployment(d) for d in deployments]}


def deployment(message: deployment_pb2.Deployment) -> dict[str, Any]:
    """A deployment."""
    settings = message.request_settings
    code = message.code_configuration
    return {
        "id": message.name,
        "name": short_name(message.name),
        "endpoint_name": message.name.split("/")[1] if message.name else "",
        "type": "managed",
        "provisioning_state": state(message.provisioning_state),
        "model": reference(message.model) or None,
        "environment": reference(message.environment) or None,
        "strict_environment": message.strict_environment,
        "code_configuration": (
            {"code": code.code, "scoring_script": code.scoring_script}
            if message.HasField("code_configuration")
            else None
        ),
        "environment_variables": dict(message.environment_variables),
        "instance_type": message.instance_type or None,
        "instance_count": instance_count(message),
        "scale_settings": {"type": "default"},
        "request_settings": {
            "request_timeout_ms": settings.request_timeout_ms or 5000,
            "max_concurrent_requests_per_instance": settings.max_concurrent_requests_per_instance or 1,
            "max_queue_wait_ms": settings.max_queue_wait_ms or 500,
        },
        "liveness_probe": probe(message.liveness_probe),
        "readiness_probe": probe(message.readiness_probe),
        "model_mount_path": message.model_mount_path or None,
        "description": message.description,
        "tags": dict(message.tags),
        "properties": dict(message.properties),
        "ready_instances": message.ready_instances,
        **_status(message.status_message, message.conditions),
        **_retained(message.retained),
    }


def instance_count(message: deployment_pb2.Deployment) -> int:
    """The instances wanted, the default included."""
    return message.instance_count if message.HasField("instance_count") else 1


def probe(message: deployment_pb2.ProbeSettings) -> dict[str, Any]:
    """A probe, the defaults included."""
    delay = message.initial_delay_seconds if message.HasField("initial_delay_seconds") else 10
    return {
        "initial_delay": _number(delay),
        "period": _number(message.period_seconds or 10),
        "timeout": _number(message.timeout_seconds or 2),
        "success_threshold": message.success_threshold or 1,
        "failure_threshold": message.failure_threshold or 30,
    }


def credentials(keys: EndpointKeys) -> dict[str, Any]:
    """An endpoint's keys."""
    return {"primaryKey": keys.primary_key, "secondaryKey": keys.secondary_key}


def token(token: EndpointToken) -> dict[str, Any]:
    """A token; its times are unix seconds."""
    return {
        "accessToken": token.access_token,
        "expiryTimeUtc": token.expiry_time.seconds,
        "refreshAfterTimeUtc": token.refresh_after_time.seconds,
        "tokenType": token.token_type,
    }


def model(message: model_pb2.Model) -> dict[str, Any]:
    """A model."""
    _, name, _, version = message.name.split("/")
    return {
        "id": message.name,
        "name": name,
        "version": version,
        "type": _MODEL_TYPES.get(message.type, "custom_model"),
        "path": message.asset,
        "description": message.description,
        "tags": dict(message.tags),
        "properties": dict(message.properties),
    }


def environment(message: environment_pb2.Environment) -> dict[str, Any]:
    """An environment."""
    _, name, _, version = message.name.split("/")
    return {
        "id": message.name,
        "name": name,
        "version": version,
        "image": message.image or None,
        "conda_file": message.conda_file or None,
        "pip_requirements": message.pip_requirements or None,
        "description": message.description,
        "tags": dict(message.tags),
        "properties": dict(message.properties),
    }


def instance(message: instance_pb2.Instance) -> dict[str, Any]:
    """An instance."""
    _, endpoint_, _, deployment_, _, id_ = message.name.split("/")
    return {
        "name": id_,
        "endpoint": endpoint_,
        "deployment": deployment_,
        "state": _enum_word(instance_pb2.InstanceState.Name(message.state), "INSTANCE_STATE_"),
        "pid": message.pid,
        "message": message.message,
    }


def platform(message: PlatformStatus) -> dict[str, Any]:
    """The platform's state."""
    return {
        "version": message.version,
        "gateway_uri": message.gateway_uri,
        "metrics_uri": message.metrics_uri,
        "gateways_connected": message.gateways_connected,
        "endpoints": message.endpoints,
        "deployments": message.deployments,
        "ready_instances": message.ready_instances,
        "endpoints_pending": list(message.endpoints_pending),
        "endpoints_rejected": dict(message.endpoints_rejected),
        "problems": list(message.problems),
    }


def state(value: common_pb2.ProvisioningState.ValueType) -> str:
    """``Succeeded`` of ``PROVISIONING_STATE_SUCCEEDED``."""
    return _enum_word(common_pb2.ProvisioningState.Name(value), "PROVISIONING_STATE_")


_MODEL_TYPES = {model_pb2.MODEL_TYPE_MLFLOW: "mlflow_model", model_pb2.MODEL_TYPE_TRITON: "triton_model"}


def _enum_word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).capitalize()


def _status(line: str, conditions: Iterable[common_pb2.Condition]) -> dict[str, Any]:
    return {
        "status_message": line,
        "conditions": [
            {
                "type": c.type,
                "status": _enum_word(common_pb2.ConditionStatus.Name(c.status), "CONDITION_STATUS_"),
                "reason": c.reason,
                "message": c.message,
                "detail": c.detail,
                "last_transition_time": _time(c.last_transition_time) if c.HasField("last_transition_time") else None,
            }
            for c in conditions
        ],
    }


def _time(moment: Timestamp) -> str:
    """ISO 8601, in UTC and whole seconds."""
    return f"{moment.ToDatetime():%Y-%m-%dT%H:%M:%SZ}"


def _retained(retained: Mapping[str, str]) -> dict[str, Any]:
    shown = {}
    for key, text in sorted(retained.items()):
        try:
            shown[key] = json.loads(text)
        except ValueError:
            shown[key] = text
    return shown


def _number(value: float) -> float:
    return int(value) if value == int(value) else value
