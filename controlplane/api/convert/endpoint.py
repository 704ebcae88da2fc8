"""Endpoints: messages and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask

from controlplane.api.convert.common import STATES, conditions, member, timestamp
from controlplane.api.masks import merged
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import endpoint_name
from controlplane.domain.specs import AuthMode, EndpointSpec
from controlplane.domain.status import status_line
from controlplane.domain.traffic import shown
from controlplane.usecases.results import EndpointView
from penstock.v1 import endpoint_pb2

MUTABLE = ("traffic", "mirror_traffic", "description", "tags", "properties", "retained")
_AUTH_MODES = {
    endpoint_pb2.AUTH_MODE_KEY: AuthMode.KEY,
    endpoint_pb2.AUTH_MODE_AML_TOKEN: AuthMode.AML_TOKEN,
}
_AUTH_NUMBERS = {mode: number for number, mode in _AUTH_MODES.items()}


@dataclass(frozen=True, slots=True)
class EndpointConverter:
    """Needs to know where the gateway is reached: ``gateway_uri`` such as ``http://localhost:8080``."""

    gateway_uri: str

    def message(self, view: EndpointView) -> endpoint_pb2.Endpoint:
        """An endpoint as users see it: a 0 in the traffic for each deployment without a share."""
        record = view.record
        here = f"{self.gateway_uri}/endpoints/{record.name}"
        message = spec_message(record.spec)
        message.traffic.update(shown(record.spec.traffic, view.deployments))
        message.MergeFrom(
            endpoint_pb2.Endpoint(
                name=endpoint_name(record.name),
                uid=record.uid,
                etag=record.etag,
                create_time=timestamp(record.created),
                update_time=timestamp(record.updated),
                provisioning_state=STATES[record.report.state],
                status_message=status_line(record.report.state, record.report.conditions),
                conditions=conditions(record.report.conditions),
                scoring_uri=f"{here}/score",
                openapi_uri=f"{here}/swagger.json",
                generation=record.generation,
                observed_generation=record.report.generation,
            )
        )
        return message


def spec_message(spec: EndpointSpec) -> endpoint_pb2.Endpoint:
    """The desired state alone."""
    return endpoint_pb2.Endpoint(
        auth_mode=_AUTH_NUMBERS[spec.auth_mode],
        traffic=spec.traffic,
        mirror_traffic=spec.mirror_traffic,
        description=spec.description,
        tags=spec.tags,
        properties=spec.properties,
        retained=spec.retained,
    )


def endpoint_spec(message: endpoint_pb2.Endpoint) -> EndpointSpec:
    """The desired state in a message. Raises InvalidArgumentError."""
    return EndpointSpec(
        auth_mode=member("auth_mode", message.auth_mode, _AUTH_MODES, AuthMode.KEY),
        traffic=dict(message.traffic),
        mirror_traffic=dict(message.mirror_traffic),
        description=message.description,
        tags=dict(message.tags),
        properties=dict(message.properties),
        retained=dict(message.retained),
    )


def endpoint_change(request: endpoint_pb2.Endpoint, mask: FieldMask) -> Callable[[EndpointSpec], EndpointSpec]:
    """What an update asks for, as a change of whatever the spec is by then.

    An ``auth_mode`` that is sent is compared, so that the wish to change it is refused, not ignored.
    """

    def change(spec: EndpointSpec) -> EndpointSpec:
        present = spec_message(spec)
        wanted = FieldMask(paths=[path for path in mask.paths if path != "auth_mode"])
        only_auth = bool(mask.paths) and not wanted.paths
        if request.auth_mode not in (endpoint_pb2.AUTH_MODE_UNSPECIFIED, present.auth_mode):
            raise InvalidArgumentError(
                Violation("auth_mode", f"is {spec.auth_mode.value} and cannot be changed: create another endpoint")
            )
        return spec if only_auth else endpoint_spec(merged(present, request, wanted, MUTABLE))

    return change
