"""Whoever asks for what, the routes of an endpoint lead where its weights and its deployments say, exactly.

The routes are read back as Envoy reads them: the first that matches. Envoy draws one number a request and compares it
with every fraction, so going through all hundred draws gives the split itself, and not an estimate of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from envoy.config.route.v3 import route_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.routes import DeploymentRoute, EndpointAuth, EndpointRoute, Mirror, Sticky, StickyBy
from gateway.translate.route import route_configuration
from gateway.validate import check_route

NAMES = ("blue", "green", "red")
WEB, GRPC = "/endpoints/e/score", "/grpc/e/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Asked:
    """A request as routes see it."""

    path: str = WEB
    pin: str | None = None
    websocket: bool = False
    length: int | None = None

    def headers(self) -> dict[str, str]:
        pairs = {
            "azureml-model-deployment": self.pin,
            "upgrade": "WebSocket" if self.websocket else None,
            "content-length": None if self.length is None else str(self.length),
        }
        return {name: value for name, value in pairs.items() if value is not None}


@st.composite
def endpoints(draw: st.DrawFn) -> EndpointRoute:
    chosen = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    deployments = tuple(
        DeploymentRoute(n, request_timeout_ms=draw(st.integers(1, 9)), grpc=draw(st.booleans())) for n in chosen
    )
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(chosen) - 1, max_size=len(chosen) - 1)))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    weights = tuple(zip(chosen, shares, strict=True)) if draw(st.booleans()) else ()
    idle = [name for name in chosen if not dict(weights).get(name)]
    mirror = Mirror(idle[0], draw(st.integers(1, 50))) if idle and draw(st.booleans()) else None
    route = EndpointRoute(
        "e",
        EndpointAuth(),
        deployments,
        weights,
        mirror,
        stream_requests=draw(st.booleans()),
        websocket=draw(st.booleans()),
        sticky=draw(st.sampled_from([None, Sticky(StickyBy.COOKIE, "s")])),
    )
    check_route(route)
    return route


requests = st.builds(
    Asked,
    path=st.sampled_from([WEB, GRPC, GRPC.replace("ModelInfer", "ModelStreamInfer")]),
    pin=st.sampled_from([None, *NAMES, "nobody"]),
    websocket=st.booleans(),
)


def matches(match: Any, asked: Asked, drawn: int) -> bool:
    if not asked.path.startswith(match.prefix) or (match.HasField("grpc") and asked.path == WEB):
        return False
    for condition in match.headers:
        value = asked.headers().get(condition.name)
        kind = condition.WhichOneof("header_match_specifier")
        if kind == "present_match":
            fits = (value is not None) == condition.present_match
        elif kind == "range_match":
            fits = value is not None and condition.range_match.start <= int(value) < condition.range_match.end
        else:
            text = "" if value is None and condition.treat_missing_header_as_empty else value
            exact = condition.string_match
            same = text is not None and (
                text.lower() == exact.exact.lower() if exact.ignore_case else text == exact.exact
            )
            fits = same != condition.invert_match
        if not fits:
            return False
    return not match.HasField("runtime_fraction") or drawn < match.runtime_fraction.default_value.numerator


def answers(route: EndpointRoute, asked: Asked) -> Counter[str]:
    """Who answers, over a hundred draws: a cluster's name, or a status."""
    message = route_pb2.RouteConfiguration.FromString(route_configuration(route).body)
    found: Counter[str] = Counter()
    for drawn in range(100):
        first = next((r for r in message.virtual_hosts[0].routes if matches(r.match, asked, drawn)), None)
        if first is None:
            found["none"] += 1
        elif first.HasField("direct_response"):
            found[str(first.direct_response.status)] += 1
        elif first.route.HasField("weighted_clusters"):
            return Counter({c.name: c.weight.value for c in first.route.weighted_clusters.clusters if c.weight.value})
        else:
            found[first.route.cluster] += 1
    return found


def expected(route: EndpointRoute, asked: Asked) -> Counter[str]:
    grpc = asked.path != WEB
    able = {d.name: (f"e/{d.name}/grpc" if d.grpc else "503") if grpc else f"e/{d.name}" for d in route.deployments}
    if grpc and "503" in able.values() and len(set(able.values())) == 1:
        return Counter({"503": 100})
    if asked.pin is not None:
        return Counter({able.get(asked.pin, "404"): 100})
    found: Counter[str] = Counter()
    for name, percent in route.weights:
        found[able[name]] += percent
    return Counter({who: share for who, share in found.items() if share}) or Counter({"404": 100})


@given(endpoints(), requests)
def test_shares_are_exact_and_pins_hold(route: EndpointRoute, asked: Asked) -> None:
    assert answers(route, asked) == expected(route, asked)


@given(endpoints())
def test_no_route_names_what_it_does_not_refer_to(route: EndpointRoute) -> None:
    resource = route_configuration(route)
    known = {name for _, name in resource.refs}
    for entry in route_pb2.RouteConfiguration.FromString(resource.body).virtual_hosts[0].routes:
        named = [entry.route.cluster, *(c.name for c in entry.route.weighted_clusters.clusters)]
        named += [policy.cluster for policy in entry.route.request_mirror_policies]
        assert set(named) - {""} <= known


@given(endpoints())
def test_what_is_pinned_is_not_mirrored(route: EndpointRoute) -> None:
    resource = route_configuration(route)
    for entry in route_pb2.RouteConfiguration.FromString(resource.body).virtual_hosts[0].routes:
        pinned = any(h.HasField("string_match") and h.name != "upgrade" for h in entry.match.headers)
        assert not (pinned and entry.route.request_mirror_policies)
        # A copy has no other end than this one.
        assert entry.route.timeout.seconds > 0 or not entry.route.request_mirror_policies


@given(endpoints())
def test_every_deployment_has_its_own_patience(route: EndpointRoute) -> None:
    patience = {f"e/{d.name}": d.request_timeout_ms for d in route.deployments}
    for entry in route_pb2.RouteConfiguration.FromString(route_configuration(route).body).virtual_hosts[0].routes:
        websocket = any(h.name == "upgrade" and not h.invert_match for h in entry.match.headers)
        if entry.route.cluster in patience and not websocket:
            assert entry.route.idle_timeout.nanos == patience[entry.route.cluster] * 1_000_000


@given(endpoints(), st.integers(0, 2**40))
def test_what_is_streamed_is_held_to_what_it_announces(route: EndpointRoute, length: int) -> None:
    found = answers(route, Asked(length=length))
    assert (found == Counter({"413": 100})) == (route.stream_requests and length > route.max_request_bytes)
