"""The exact resources Envoy is sent for each feature, as sorted JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf.json_format import MessageToDict

from gateway import enrolment
from gateway.bootstrap import bootstrap
from gateway.certificate import Certificate
from gateway.routes import (
    AuthMode,
    DeploymentRoute,
    EndpointAuth,
    EndpointRoute,
    Host,
    HostHealth,
    Mirror,
    PublicKey,
    RateLimit,
    Retry,
    Sticky,
    StickyBy,
    TokenTrust,
)
from gateway.settings import GatewaySettings
from gateway.snapshot import Resource, ResourceType
from gateway.translate.cluster import cluster
from gateway.translate.endpoints import load_assignment
from gateway.translate.listener import listeners
from gateway.translate.route import route_configuration
from gateway.translate.scoped_route import scoped_route
from gateway.translate.tokens import NOBODY, token_filter
from gateway.translate.upstream_tls import secrets

Golden = Callable[[str, str], None]

SETTINGS = GatewaySettings(
    Path("/run/penstock/ads.sock"),
    Path("/run/penstock/admin.sock"),
    Path("/var/log/penstock/access.log"),
    Path("/run/penstock/envoy.json"),
)
AUTH = EndpointAuth(key_digests=(("primary", "0a" * 32), ("secondary", "1b" * 32)))
BLUE = DeploymentRoute(
    "blue",
    (Host("blue-1", "unix:///run/penstock/blue-1.sock"), Host("blue-2", "10.0.0.2:5001", HostHealth.DRAINING)),
    max_concurrent_requests_per_instance=4,
    instance_count=2,
    request_timeout_ms=90_500,
)
GREEN = DeploymentRoute("green")
TYPES = {
    ResourceType.SECRET: secret_pb2.Secret,
    ResourceType.CLUSTER: cluster_pb2.Cluster,
    ResourceType.ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    ResourceType.EXTENSION: extension_pb2.TypedExtensionConfig,
    ResourceType.LISTENER: listener_pb2.Listener,
    ResourceType.SCOPED_ROUTE: scoped_route_pb2.ScopedRouteConfiguration,
    ResourceType.ROUTE: route_pb2.RouteConfiguration,
}
ONE = EndpointRoute("diabetes", AUTH, (BLUE,), (("blue", 100),))
BOTH = replace(
    BLUE,
    grpc=True,
    grpc_workers=2,
    hosts=(replace(BLUE.hosts[0], grpc_addresses=("unix:///run/b.0", "unix:///run/b.1")), BLUE.hosts[1]),
)
TWO = replace(ONE, deployments=(BLUE, GREEN), weights=(("blue", 90), ("green", 10)))


def as_json(resource: Resource) -> str:
    message = TYPES[resource.type].FromString(resource.body)
    tree = {"name": resource.name, "version": resource.version, "refs": [list(ref) for ref in resource.refs]}
    return json.dumps(tree | {"resource": MessageToDict(message)}, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("route-one", ONE),
        ("route-two", TWO),
        ("route-mirror", replace(TWO, weights=(("blue", 100),), mirror=Mirror("green", 20))),
        ("route-no-traffic", replace(ONE, weights=(("blue", 0),))),
        ("route-tokens", replace(ONE, auth=EndpointAuth(AuthMode.TOKEN, tokens_not_before=1_800_000_000))),
        ("route-grpc", replace(TWO, deployments=(BOTH, GREEN))),
        ("route-websocket", replace(ONE, websocket=True)),
        ("route-sticky", replace(TWO, sticky=Sticky(StickyBy.HEADER, "x-user"))),
        (
            "route-limits",
            replace(
                ONE, rate_limit=RateLimit(100, 60), retry=Retry.NEVER, stream_requests=True, max_request_bytes=1000
            ),
        ),
        ("route-nobody", replace(ONE, auth=EndpointAuth(), max_request_bytes=1000)),
    ],
)
def test_route(golden: Golden, name: str, route: EndpointRoute) -> None:
    golden(f"{name}.json", as_json(route_configuration(route)))


def test_scope(golden: Golden) -> None:
    golden("scope.json", as_json(scoped_route("diabetes")))


def test_cluster(golden: Golden) -> None:
    golden("cluster.json", as_json(cluster("diabetes", BLUE, SETTINGS)))
    golden("cluster-grpc.json", as_json(cluster("diabetes", BOTH, SETTINGS, grpc=True)))
    golden("cluster-sticky.json", as_json(cluster("diabetes", replace(BLUE, sticky_instances=True), SETTINGS)))
    golden("cluster-slow-start.json", as_json(cluster("diabetes", replace(BLUE, slow_start_ms=30_000), SETTINGS)))


def test_mutual_tls(golden: Golden) -> None:
    settings = replace(SETTINGS, mutual_tls=True)
    over_tcp = replace(
        BOTH, hosts=(BLUE.hosts[0], Host("blue-3", "tls://10.0.0.2:20000", grpc_addresses=("tls://10.0.0.2:20001",)))
    )
    golden("cluster-mutual-tls.json", as_json(cluster("diabetes", over_tcp, settings)))
    golden("cluster-mutual-tls-grpc.json", as_json(cluster("diabetes", over_tcp, settings, grpc=True)))
    golden("load-assignment-mutual-tls.json", as_json(load_assignment("diabetes", over_tcp)))
    golden("load-assignment-mutual-tls-grpc.json", as_json(load_assignment("diabetes", over_tcp, grpc=True)))
    client = Certificate(b"chain", b"key", datetime(2030, 1, 1, tzinfo=UTC))
    for name, resource in zip(("upstream", "authority"), secrets(client, b"authority"), strict=True):
        golden(f"secret-{name}.json", as_json(resource))


@pytest.mark.parametrize(("name", "host"), [("address", "10.0.0.1"), ("name", "control.example.org")])
def test_enrolment(golden: Golden, name: str, host: str) -> None:
    settings = enrolment.settings_of(replace(SETTINGS, tls_port=8443), "edge", "0.0.0.0", 80, 443)
    written = enrolment.files(settings, host, 18000)
    assert set(written) == {"bootstrap.json", "identity.json"}
    cluster = json.loads(written["bootstrap.json"])["static_resources"]["clusters"]
    golden(
        f"enrolment-{name}.json", json.dumps({"control": cluster, **_rest(written)}, indent=1, sort_keys=True) + "\n"
    )
    for listener in listeners(settings):
        assert b"access.log" in listener.body
        assert str(SETTINGS.access_log).encode() not in listener.body


def _rest(written: dict[str, str]) -> dict[str, object]:
    tree = json.loads(written["bootstrap.json"])
    return {"node": tree["node"], "admin": tree["admin"], "secret": json.loads(written["identity.json"])}


def test_load_assignment(golden: Golden) -> None:
    golden("load-assignment.json", as_json(load_assignment("diabetes", BLUE)))
    golden("load-assignment-grpc.json", as_json(load_assignment("diabetes", BOTH, grpc=True)))
    golden("load-assignment-empty.json", as_json(load_assignment("diabetes", GREEN)))


def test_listener(golden: Golden) -> None:
    (plain,) = listeners(SETTINGS)
    golden("listener.json", as_json(plain))


def test_listeners_with_tls(golden: Golden) -> None:
    away, serving = listeners(replace(SETTINGS, tls_port=8443))
    golden("listener-redirect.json", as_json(away))
    golden("listener-tls.json", as_json(serving))


def test_token_filter(golden: Golden) -> None:
    trust = TokenTrust("penstock", "penstock-scoring", (PublicKey("new", "eA", "eQ"), PublicKey("old", "eDI", "eTI")))
    golden("tokens.json", as_json(token_filter(trust)))
    golden("tokens-nobody.json", as_json(token_filter(NOBODY)))


def test_bootstrap(golden: Golden) -> None:
    golden("bootstrap.json", json.dumps(bootstrap(SETTINGS), indent=1, sort_keys=True) + "\n")


def test_order_without_meaning_is_no_change() -> None:
    turned = replace(TWO, weights=tuple(reversed(TWO.weights)))
    assert route_configuration(turned).version == route_configuration(TWO).version
    hosts = replace(BLUE, hosts=tuple(reversed(BLUE.hosts)))
    assert load_assignment("e", hosts).version == load_assignment("e", BLUE).version


def test_what_does_not_concern_the_routes_does_not_change_them() -> None:
    moved = replace(ONE, deployments=(replace(BLUE, hosts=(), instance_count=7),))
    assert route_configuration(moved).version == route_configuration(ONE).version
