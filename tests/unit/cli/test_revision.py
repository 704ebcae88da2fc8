"""The 2021 rule: one update, one kind of change."""

from __future__ import annotations

import itertools

import pytest

from penstock.cli.revision import Kind, Revision, TwoKindsError, revise
from penstock.v1.deployment_pb2 import CodeConfiguration, Deployment, RequestSettings
from penstock.v1.endpoint_pb2 import Endpoint

BLUE = Deployment(
    model="models/m/versions/1",
    code_configuration=CodeConfiguration(code="assets/sha256:1", scoring_script="score.py"),
    environment="environments/e/versions/1",
    instance_count=1,
    request_settings=RequestSettings(request_timeout_ms=5000),
)


def blue(**changes: object) -> Deployment:
    changed = Deployment()
    changed.CopyFrom(BLUE)
    changed.MergeFrom(Deployment(**changes))  # type: ignore[arg-type]
    return changed


CHANGES = {
    Kind.SCALE: blue(instance_count=2),
    Kind.MODEL: blue(model="models/m/versions/2"),
    Kind.CODE: blue(code_configuration=CodeConfiguration(scoring_script="other.py")),
    Kind.ENVIRONMENT: blue(environment="environments/e/versions/2"),
    Kind.SETTINGS: blue(environment_variables={"A": "1"}),
}


def test_nothing_differs() -> None:
    left_out = blue()
    left_out.ClearField("instance_count")
    left_out.ClearField("request_settings")
    assert revise(Endpoint(), {"blue": BLUE}, Endpoint(), {"blue": left_out}) == Revision()


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_alone(kind: Kind) -> None:
    revision = revise(Endpoint(), {"blue": BLUE}, Endpoint(), {"blue": CHANGES[kind]})
    assert revision == Revision(kind=kind, change=("blue",))


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CHANGES, 2)))
def test_two_kinds_are_refused_and_named(one: Kind, other: Kind) -> None:
    both = {"blue": CHANGES[one], "green": CHANGES[other]}
    with pytest.raises(TwoKindsError) as caught:
        revise(Endpoint(), {"blue": BLUE, "green": BLUE}, Endpoint(), both)
    assert one in str(caught.value)
    assert other in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [({"blue": 100}, {"blue": 100, "green": 0}), ({"blue": 100, "green": 0}, {"blue": 100})],
)
def test_zeros_do_not_count_as_traffic(before: dict[str, int], after: dict[str, int]) -> None:
    names = sorted(before.keys() | after.keys())
    now = {name: BLUE for name in names if name in before}
    wanted = {name: BLUE for name in names if name in after}
    revision = revise(Endpoint(traffic=before), now, Endpoint(traffic=after), wanted)
    assert revision.kind in (Kind.ADDED, Kind.REMOVED)
    assert (*revision.add, *revision.remove) == ("green",)


def test_traffic_alone() -> None:
    both = {"blue": BLUE, "green": BLUE}
    revision = revise(Endpoint(traffic={"blue": 100}), both, Endpoint(traffic={"blue": 90, "green": 10}), both)
    assert revision == Revision(kind=Kind.TRAFFIC)


def test_mirrored_traffic_is_traffic() -> None:
    both = {"blue": BLUE, "green": BLUE}
    assert revise(Endpoint(), both, Endpoint(mirror_traffic={"green": 10}), both) == Revision(kind=Kind.TRAFFIC)
    assert revise(Endpoint(), both, Endpoint(mirror_traffic={"green": 0}), both) == Revision()


def test_what_is_only_kept_to_be_shown_again_is_a_setting() -> None:
    there, elsewhere = blue(retained={"location": '"west"'}), blue(retained={"location": '"east"'})
    revision = revise(Endpoint(), {"blue": there}, Endpoint(), {"blue": elsewhere})
    assert revision == Revision(kind=Kind.SETTINGS, change=("blue",))
    revision = revise(Endpoint(), {}, Endpoint(retained={"location": '"west"'}), {})
    assert revision == Revision(kind=Kind.SETTINGS, endpoint_fields=("retained",))


def test_a_deployment_with_live_traffic_cannot_come_with_it() -> None:
    with pytest.raises(TwoKindsError, match="traffic and added deployments"):
        revise(
            Endpoint(traffic={"blue": 100}),
            {"blue": BLUE},
            Endpoint(traffic={"green": 100}),
            {"blue": BLUE, "green": BLUE},
        )


def test_labels_of_the_endpoint() -> None:
    revision = revise(Endpoint(), {}, Endpoint(tags={"a": "b"}), {})
    assert revision == Revision(kind=Kind.SETTINGS, endpoint_fields=("tags",))
