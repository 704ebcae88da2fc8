"""Manifests as the API's messages. References are given resolved; nothing is looked up here."""

from __future__ import annotations

from penstock import manifest
from penstock.v1 import deployment_pb2, endpoint_pb2, environment_pb2, model_pb2

_AUTH = {
    manifest.AuthMode.KEY: endpoint_pb2.AUTH_MODE_KEY,
    manifest.AuthMode.AML_TOKEN: endpoint_pb2.AUTH_MODE_AML_TOKEN,
}
_MODEL = {
    manifest.ModelType.CUSTOM: model_pb2.MODEL_TYPE_CUSTOM,
    manifest.ModelType.MLFLOW: model_pb2.MODEL_TYPE_MLFLOW,
    manifest.ModelType.TRITON: model_pb2.MODEL_TYPE_TRITON,
}


def endpoint_message(endpoint: manifest.ManifestEndpoint) -> endpoint_pb2.Endpoint:
    """The endpoint without its traffic when its deployments are still to be made."""
    return endpoint_pb2.Endpoint(
        auth_mode=_AUTH[endpoint.auth_mode],
        traffic={} if endpoint.deployments else endpoint.traffic,
        mirror_traffic={} if endpoint.deployments else endpoint.mirror_traffic,
        description=endpoint.description,
        tags=endpoint.tags,
        properties=endpoint.properties,
        retained=endpoint.retained,
    )


def deployment_message(
    deployment: manifest.ManifestDeployment, *, model: str = "", code: str = "", environment: str = ""
) -> deployment_pb2.Deployment:
    """The deployment with the resource names of its model, code and environment."""
    message = deployment_pb2.Deployment(
        model=model,
        environment=environment,
        environment_variables=deployment.environment_variables,
        instance_type=deployment.instance_type,
        instance_count=deployment.instance_count,
        model_mount_path=deployment.model_mount_path,
        strict_environment=deployment.strict_environment,
        description=deployment.description,
        tags=deployment.tags,
        properties=deployment.properties,
        retained=deployment.retained,
    )
    if deployment.code is not None:
        message.code_configuration.code = code
        message.code_configuration.scoring_script = deployment.code.scoring_script
    if (settings := deployment.request_settings) is not None:
        message.request_settings.request_timeout_ms = settings.request_timeout_ms or 0
        message.request_settings.max_concurrent_requests_per_instance = (
            settings.max_concurrent_requests_per_instance or 0
        )
        message.request_settings.max_queue_wait_ms = settings.max_queue_wait_ms or 0
    if deployment.liveness_probe is not None:
        message.liveness_probe.CopyFrom(_probe(deployment.liveness_probe))
    if deployment.readiness_probe is not None:
        message.readiness_probe.CopyFrom(_probe(deployment.readiness_probe))
    return message


def model_message(model: manifest.ManifestModel, asset: str) -> model_pb2.Model:
    """The model whose files are ``asset``."""
    return model_pb2.Model(
        asset=asset,
        type=_MODEL[model.type],
        description=model.description,
        tags=model.tags,
        properties=model.properties,
        anonymous=not model.name,
    )


def environment_message(environment: manifest.ManifestEnvironment) -> environment_pb2.Environment:
    """The environment."""
    message = environment_pb2.Environment(
        conda_file=environment.conda_file,
        image=environment.image,
        description=environment.description,
        tags=environment.tags,
        properties=environment.properties,
        anonymous=not environment.name,
    )
    if (config := environment.inference_config) is not None:
        for name in ("liveness_route", "readiness_route", "scoring_route"):
            route = getattr(config, name)
            if route is not None:
                getattr(message.inference_config, name).CopyFrom(
                    environment_pb2.HttpRoute(port=route.port, path=route.path)
                )
    return message


def _probe(probe: manifest.ProbeSettings) -> deployment_pb2.ProbeSettings:
    return deployment_pb2.ProbeSettings(
        initial_delay_seconds=probe.initial_delay,
        period_seconds=probe.period or 0,
        timeout_seconds=probe.timeout or 0,
        success_threshold=probe.success_threshold or 0,
        failure_threshold=probe.failure_threshold or 0,
    )
