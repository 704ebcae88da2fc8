"""Field masks: what is named is taken, cleared fields get their defaults, the rest stays."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from controlplane.api.convert.deployment import MUTABLE, deployment_change, deployment_spec, spec_message
from controlplane.api.convert.endpoint import endpoint_change
from controlplane.api.masks import merged
from controlplane.domain.errors import InvalidArgumentError
from controlplane.domain.specs import AuthMode, DeploymentSpec, EndpointSpec, ProbeSettings, RequestSettings
from penstock.v1 import deployment_pb2, endpoint_pb2

PRESENT = DeploymentSpec(
    code_asset="c" * 64,
    scoring_script="score.py",
    instance_count=3,
    tags={"a": "1", "b": "2"},
    request_settings=RequestSettings(max_queue_wait_ms=9),
    liveness_probe=ProbeSettings(initial_delay_seconds=0),
)


def change(request: deployment_pb2.Deployment, *paths: str) -> DeploymentSpec:
    return deployment_change(request, FieldMask(paths=paths))(PRESENT)


def test_a_spec_written_out_is_read_back() -> None:
    assert deployment_spec(spec_message(PRESENT)) == PRESENT


def test_what_the_mask_does_not_name_stays() -> None:
    got = change(deployment_pb2.Deployment(description="new", instance_count=7), "description")
    assert (got.description, got.instance_count) == ("new", 3)


def test_maps_are_replaced_as_a_whole() -> None:
    assert change(deployment_pb2.Deployment(tags={"c": "3"}), "tags").tags == {"c": "3"}
    assert change(deployment_pb2.Deployment(), "tags").tags == {}


def test_a_part_of_a_message_can_be_named() -> None:
    request = deployment_pb2.Deployment(
        request_settings=deployment_pb2.RequestSettings(request_timeout_ms=7, max_queue_wait_ms=8)
    )
    got = change(request, "request_settings.request_timeout_ms")
    assert got.request_settings == RequestSettings(request_timeout_ms=7, max_queue_wait_ms=9)


def test_a_cleared_field_gets_its_default_and_zero_is_a_value() -> None:
    assert change(deployment_pb2.Deployment(), "instance_count").instance_count == 1
    assert change(deployment_pb2.Deployment(instance_count=0), "instance_count").instance_count == 0
    assert change(deployment_pb2.Deployment(), "liveness_probe").liveness_probe == ProbeSettings()
    assert change(deployment_pb2.Deployment(), "request_settings").request_settings == RequestSettings()


@pytest.mark.parametrize("paths", [(), ("*",)])
def test_no_mask_means_everything(paths: tuple[str, ...]) -> None:
    request = deployment_pb2.Deployment(
        code_configuration=deployment_pb2.CodeConfiguration(code=f"assets/sha256:{'d' * 64}", scoring_script="new.py")
    )
    assert change(request, *paths) == DeploymentSpec(code_asset="d" * 64, scoring_script="new.py")


@pytest.mark.parametrize("path", ["uid", "name", "tagz", "tags.a", "request_settings.nothing", "instance_count.x", ""])
def test_a_path_that_cannot_be_changed_is_named(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'{path}' cannot be changed"):
        merged(spec_message(PRESENT), deployment_pb2.Deployment(), FieldMask(paths=[path]), MUTABLE)


def test_the_wish_to_change_the_auth_mode_is_refused_not_ignored() -> None:
    token = endpoint_pb2.Endpoint(auth_mode=endpoint_pb2.AUTH_MODE_AML_TOKEN)
    for paths in ([], ["auth_mode"], ["tags"]):
        with pytest.raises(InvalidArgumentError, match="cannot be changed"):
            endpoint_change(token, FieldMask(paths=paths))(EndpointSpec())
    same = endpoint_pb2.Endpoint(auth_mode=endpoint_pb2.AUTH_MODE_AML_TOKEN)
    kept = EndpointSpec(auth_mode=AuthMode.AML_TOKEN, description="kept")
    assert endpoint_change(same, FieldMask(paths=["auth_mode"]))(kept) == kept
    assert (
        endpoint_change(endpoint_pb2.Endpoint(), FieldMask(paths=["description"]))(kept).auth_mode is AuthMode.AML_TOKEN
    )
