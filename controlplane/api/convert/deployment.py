"""Deployments: messages and values. A 0 or an absent field stands for the default that the contract names."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.field_mask_pb2 import FieldMask

from controlplane.api.convert.common import (
    STATES,
    asset_id,
    asset_name,
    conditions,
    timestamp,
    versioned,
    versioned_name,
)
from controlplane.api.masks import merged
from controlplane.domain.checks import Mistakes, check_deployment
from controlplane.domain.names import deployment_name
from controlplane.domain.records import DeploymentRecord
from controlplane.domain.specs import DeploymentSpec, ProbeSettings, RequestSettings
from controlplane.domain.status import status_line
from penstock.v1 import deployment_pb2

MUTABLE = (
    "model",
    "code_configuration",
    "environment",
    "environment_variables",
    "instance_type",
    "instance_count",
    "request_settings",
    "liveness_probe",
    "readiness_probe",
    "model_mount_path",
    "strict_environment",
    "description",
    "tags",
    "properties",
    "retained",
)
_REQUESTS = RequestSettings()
_PROBE = ProbeSettings()


def deployment_message(record: DeploymentRecord) -> deployment_pb2.Deployment:
    """A deployment as users see it."""
    message = spec_message(record.spec)
    message.MergeFrom(
        deployment_pb2.Deployment(
            name=deployment_name(record.endpoint, record.name),
            uid=record.uid,
            etag=record.etag,
            create_time=timestamp(record.created),
            update_time=timestamp(record.updated),
            provisioning_state=STATES[record.report.state],
            status_message=status_line(record.report.state, record.report.conditions),
            conditions=conditions(record.report.conditions),
            ready_instances=record.ready_instances,
            generation=record.generation,
            observed_generation=record.report.generation,
        )
    )
    return message


def spec_message(spec: DeploymentSpec) -> deployment_pb2.Deployment:
    """The desired state alone, with the defaults filled in."""
    requests = spec.request_settings
    return deployment_pb2.Deployment(
        model=versioned_name("models", spec.model) if spec.model else "",
        code_configuration=deployment_pb2.CodeConfiguration(
            code=asset_name(spec.code_asset), scoring_script=spec.scoring_script
        ),
        environment=versioned_name("environments", spec.environment) if spec.environment else "",
        environment_variables=spec.environment_variables,
        instance_type=spec.instance_type,
        instance_count=spec.instance_count,
        request_settings=deployment_pb2.RequestSettings(
            request_timeout_ms=requests.request_timeout_ms,
            max_concurrent_requests_per_instance=requests.max_concurrent_requests_per_instance,
            max_queue_wait_ms=requests.max_queue_wait_ms,
        ),
        liveness_probe=_probe_message(spec.liveness_probe),
        readiness_probe=_probe_message(spec.readiness_probe),
        model_mount_path=spec.model_mount_path,
        strict_environment=spec.strict_environment,
        description=spec.description,
        tags=spec.tags,
        properties=spec.properties,
        retained=spec.retained,
    )


def deployment_spec(message: deployment_pb2.Deployment) -> DeploymentSpec:
    """The desired state in a message.

    Raises:
        InvalidArgumentError: with every mistake in it, those of ranges included.
    """
    mistakes = Mistakes()
    model = mistakes.gather(lambda: versioned("models", "model", message.model)) if message.model else None
    environment = (
        mistakes.gather(lambda: versioned("environments", "environment", message.environment))
        if message.environment
        else None
    )
    code_field = "code_configuration.code"
    code = mistakes.gather(lambda: asset_id(code_field, message.code_configuration.code))
    spec = DeploymentSpec(
        model=model,
        code_asset=code or "",
        scoring_script=message.code_configuration.scoring_script,
        environment=environment,
        strict_environment=message.strict_environment,
        environment_variables=dict(message.environment_variables),
        instance_type=message.instance_type,
        instance_count=message.instance_count if message.HasField("instance_count") else 1,
        request_settings=_requests(message.request_settings),
        liveness_probe=_probe(message.liveness_probe),
        readiness_probe=_probe(message.readiness_probe),
        model_mount_path=message.model_mount_path,
        description=message.description,
        tags=dict(message.tags),
        properties=dict(message.properties),
        retained=dict(message.retained),
    )
    unread = {violation.field for violation in mistakes.found}
    ranges = Mistakes()
    ranges.gather(lambda: check_deployment(spec))
    for violation in ranges.found:
        # What could not be read is empty here, and that it is missing is no second mistake.
        if not (unread and violation.field in (code_field, "code_configuration")):
            mistakes.add(violation.field, violation.description)
    mistakes.refuse()
    return spec


def deployment_change(
    request: deployment_pb2.Deployment, mask: FieldMask
) -> Callable[[DeploymentSpec], DeploymentSpec]:
    """What an update asks for, as a change of whatever the spec is by then."""
    return lambda spec: deployment_spec(merged(spec_message(spec), request, mask, MUTABLE))


def _requests(message: deployment_pb2.RequestSettings) -> RequestSettings:
    return RequestSettings(
        request_timeout_ms=message.request_timeout_ms or _REQUESTS.request_timeout_ms,
        max_concurrent_requests_per_instance=message.max_concurrent_requests_per_instance
        or _REQUESTS.max_concurrent_requests_per_instance,
        max_queue_wait_ms=message.max_queue_wait_ms or _REQUESTS.max_queue_wait_ms,
    )


def _probe(message: deployment_pb2.ProbeSettings) -> ProbeSettings:
    given = message.HasField("initial_delay_seconds")
    return ProbeSettings(
        initial_delay_seconds=message.initial_delay_seconds if given else _PROBE.initial_delay_seconds,
        period_seconds=message.period_seconds or _PROBE.period_seconds,
        timeout_seconds=message.timeout_seconds or _PROBE.timeout_seconds,
        success_threshold=message.success_threshold or _PROBE.success_threshold,
        failure_threshold=message.failure_threshold or _PROBE.failure_threshold,
    )


def _probe_message(probe: ProbeSettings) -> deployment_pb2.ProbeSettings:
    return deployment_pb2.ProbeSettings(
        initial_delay_seconds=probe.initial_delay_seconds,
        period_seconds=probe.period_seconds,
        timeout_seconds=probe.timeout_seconds,
        success_threshold=probe.success_threshold,
        failure_threshold=probe.failure_threshold,
    )
