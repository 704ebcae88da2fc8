"""Whatever a user may ask for comes back from the database exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import StoreError
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.operations import OperationError
from controlplane.domain.records import ClientKey, Report
from controlplane.domain.specs import DeploymentSpec, EndpointSpec, EnvironmentSpec, ModelSpec
from controlplane.store import codecs
from controlplane.store.codec import Codec

# Surrogates cannot be written as UTF-8; no gRPC message holds them.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
st.register_type_strategy(str, text)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

VALUES: list[tuple[Codec[Any], Any]] = [
    (codecs.ENDPOINT_SPEC, EndpointSpec),
    (codecs.DEPLOYMENT_SPEC, DeploymentSpec),
    (codecs.MODEL_SPEC, ModelSpec),
    (codecs.ENVIRONMENT_SPEC, EnvironmentSpec),
    (codecs.TEMPLATE, InstanceTemplate),
    (codecs.OPERATION_ERROR, OperationError),
    (codecs.CLIENT_KEYS, tuple[ClientKey, ...]),
    (codecs.TRAFFIC, dict[str, int]),
]


@pytest.mark.parametrize(("codec", "kind"), VALUES)
@given(data=st.data())
def test_what_is_stored_comes_back(codec: Codec[Any], kind: Any, data: st.DataObject) -> None:
    value = data.draw(st.from_type(kind))
    stored = codec.dump(value)
    assert codec.load(stored) == value
    assert codec.dump(codec.load(stored)) == stored


@given(st.builds(Report, conditions=st.just(())))
def test_reports_come_back(report: Report) -> None:
    assert codecs.REPORT.load(codecs.REPORT.dump(report)) == report


def test_fields_that_were_added_later_get_their_defaults() -> None:
    assert codecs.MODEL_SPEC.load('{"v":1,"is":{"asset":"a"}}') == ModelSpec(asset="a")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"v":2,"is":{"asset":"a"}}',
        '{"v":1,"is":{"asset":"a","of_a_newer_penstock":1}}',
        '{"v":1,"is":{"asset":7}}',
        '{"v":1,"is":{"asset":"a","anonymous":1}}',
        '{"v":1,"is":{"asset":"a","type":"unheard_of"}}',
        '{"v":1,"is":{}}',
    ],
)
def test_what_cannot_be_read_exactly_is_refused(stored: str) -> None:
    with pytest.raises(StoreError, match="stored ModelSpec"):
        codecs.MODEL_SPEC.load(stored)


@given(st.from_type(EndpointSpec), st.from_type(EndpointSpec))
def test_equal_values_have_equal_texts_and_others_have_others(one: EndpointSpec, other: EndpointSpec) -> None:
    assert (codecs.ENDPOINT_SPEC.dump(one) == codecs.ENDPOINT_SPEC.dump(other)) == (one == other)


def test_a_type_that_would_not_come_back_is_refused_at_once() -> None:
    for kind in (bytes, dict[int, str], tuple[int, str], object):
        with pytest.raises((TypeError, ValueError)):
            Codec(kind)


def test_stored_text_says_its_version() -> None:
    assert json.loads(codecs.TRAFFIC.dump({"blue": 1})) == {"v": 1, "is": {"blue": 1}}
