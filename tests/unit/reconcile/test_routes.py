"""The store's words in the gateway's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controlplane.domain import endpoint_options as options
from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceState, InstanceTemplate
from controlplane.domain.records import DeploymentRecord, EndpointRecord, EndpointTree, Report
from controlplane.domain.specs import DeploymentSpec, EndpointSpec
from controlplane.domain.status import ProvisioningState
from controlplane.reconcile.routes import endpoint_route
from gateway import routes
from gateway.routes import EndpointRoute, Host, HostHealth, RateLimit, Retry, Sticky, StickyBy
from gateway.validate import MAX_BYTES, check_route

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY, STARTING = InstanceState.READY, InstanceState.STARTING


def routed(properties: dict[str, str], *seen: InstanceObservation, draining: bool = False) -> EndpointRoute:
    report = Report(1, ProvisioningState.SUCCEEDED)
    endpoint = EndpointRecord("e", "u1", "t", 1, EndpointSpec(properties=properties), report, NOW, NOW)
    template = InstanceTemplate("e", "blue")
    blue = DeploymentRecord("e", "blue", "u2", "t", 1, DeploymentSpec(), template, report, NOW, NOW)
    records = tuple(InstanceRecord(s.id, "e", "blue", "u2", "h", NOW, draining) for s in seen)
    tree = EndpointTree(endpoint, (blue,), records)
    route = endpoint_route(tree, {"blue": 100}, {s.id: s for s in seen})
    check_route(route)
    return route


def test_options_reach_the_gateway() -> None:
    route = routed(
        {
            "penstock.rate_limit_per_key": "100/minute",
            "penstock.max_request_bytes": "1000",
            "penstock.stream_requests": "true",
            "penstock.retry": "never",
            "penstock.sticky": "cookie:session",
            "penstock.sticky_instances": "true",
            "penstock.websocket": "true",
            "penstock.stream_idle_timeout_seconds": "60",
        }
    )
    assert (route.rate_limit, route.max_request_bytes, route.stream_requests) == (RateLimit(100, 60), 1000, True)
    assert (route.retry, route.sticky) == (Retry.NEVER, Sticky(StickyBy.COOKIE, "session"))
    assert route.websocket
    assert (route.stream_idle_timeout_ms, route.deployments[0].sticky_instances) == (60_000, True)
    assert routed({"penstock.slow_start_seconds": "5"}).deployments[0].slow_start_ms == 5000


def test_the_defaults_are_the_same_on_both_sides() -> None:
    route, plain = routed({}), EndpointRoute("x", routes.EndpointAuth())
    assert route.stream_idle_timeout_ms == plain.stream_idle_timeout_ms
    for field in ("max_request_bytes", "stream_requests", "retry", "rate_limit", "sticky", "websocket"):
        assert getattr(route, field) == getattr(plain, field), field


def test_both_sides_have_the_same_words_and_ranges() -> None:
    for ours, theirs in ((options.Retry, routes.Retry), (options.StickyBy, routes.StickyBy)):
        assert {item.value for item in ours} == {item.value for item in theirs}
    assert options.BYTES_MAX == MAX_BYTES


def test_what_another_release_let_in_is_no_reason_to_stop() -> None:
    assert routed({"penstock.retry": "sometimes", "penstock.future": "x"}).retry is Retry.UNANSWERED


@pytest.mark.parametrize("draining", [False, True])
def test_grpc_addresses(draining: bool) -> None:
    seen = InstanceObservation("i1", READY, "h", "unix:///i1", grpc_addresses=("unix:///i1.0", "unix:///i1.1"))
    (blue,) = routed({}, seen, draining=draining).deployments
    health = HostHealth.DRAINING if draining else HostHealth.SERVING
    assert blue.hosts == (Host("i1", "unix:///i1", health, ("unix:///i1.0", "unix:///i1.1")),)
    assert (blue.grpc, blue.grpc_workers) == (True, 2)


def test_a_restart_does_not_take_grpc_away() -> None:
    seen = InstanceObservation("i1", STARTING, "h", "unix:///i1", grpc_addresses=("unix:///i1.0",))
    (blue,) = routed({}, seen).deployments
    assert (blue.hosts, blue.grpc, blue.grpc_workers) == ((), True, 1)
    assert not routed({}, replace(seen, grpc_addresses=())).deployments[0].grpc
