from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.routes import (
    AuthMode,
    DeploymentRoute,
    EndpointAuth,
    EndpointRoute,
    Host,
    Mirror,
    RateLimit,
    Refusal,
    RouteRefusedError,
    Sticky,
    StickyBy,
)
from gateway.validate import check_route

GOOD = EndpointRoute(
    "diabetes",
    EndpointAuth(key_digests=(("primary", "0a" * 32),)),
    (DeploymentRoute("blue", (Host("b1", "unix:///run/b1.sock"),)), DeploymentRoute("green")),
    (("blue", 100),),
    Mirror("green", 10),
)
BLUE, GREEN = GOOD.deployments


def test_a_sound_route_passes() -> None:
    check_route(GOOD)
    check_route(replace(GOOD, weights=(), mirror=None))


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        (replace(GOOD, name="a/b"), "endpoint name 'a/b'"),
        (replace(GOOD, deployments=(BLUE, BLUE), mirror=None), "names a deployment twice"),
        (replace(GOOD, deployments=(BLUE, replace(GREEN, name="..")), mirror=None), "deployment name '..'"),
        (replace(GOOD, weights=(("blue", 90),)), "sums to 90 percent"),
        (replace(GOOD, weights=(("blue", 150), ("green", -50)), mirror=None), "0 to 100 percent"),
        (replace(GOOD, weights=(("red", 100),)), "names deployment 'red'"),
        (replace(GOOD, weights=(("blue", 50), ("blue", 50))), "names a deployment twice"),
        (replace(GOOD, mirror=Mirror("red", 10)), "mirrors to deployment 'red'"),
        (replace(GOOD, mirror=Mirror("green", 51)), "1 to 50 percent, not 51"),
        (replace(GOOD, mirror=Mirror("blue", 10)), "while it has live traffic"),
        (replace(GOOD, max_request_bytes=0), "max_request_bytes"),
        (replace(GOOD, max_request_bytes=2**30 + 1), "max_request_bytes"),
        (replace(GOOD, stream_idle_timeout_ms=0), "stream_idle_timeout_ms"),
        (replace(GOOD, rate_limit=RateLimit(0)), "rate limit of 0"),
        (replace(GOOD, rate_limit=RateLimit(1, 0)), "in 0 s"),
        (replace(GOOD, sticky=Sticky(StickyBy.HEADER, ":path")), "name of a header"),
        (replace(GOOD, deployments=(replace(BLUE, sticky_instances=True), GREEN)), "sticky instances"),
        (replace(GOOD, deployments=(replace(BLUE, slow_start_ms=-1), GREEN)), "slow_start_ms"),
        (
            replace(GOOD, deployments=(replace(BLUE, hosts=(Host("i", "1.2.3.4:5", grpc_addresses=("x",)),)), GREEN)),
            "'x' is neither",
        ),
        (
            replace(GOOD, deployments=(replace(BLUE, request_timeout_ms=0), GREEN)),
            "request_timeout_ms of deployment 'blue'",
        ),
        (replace(GOOD, deployments=(replace(BLUE, request_timeout_ms=180_001), GREEN)), "request_timeout_ms"),
        (replace(GOOD, deployments=(replace(BLUE, max_concurrent_requests_per_instance=0), GREEN)), "max_concurrent"),
        (replace(GOOD, deployments=(replace(BLUE, instance_count=-1), GREEN)), "instance_count"),
        (replace(GOOD, deployments=(replace(BLUE, hosts=BLUE.hosts * 2), GREEN)), "names an instance twice"),
        (
            replace(GOOD, deployments=(replace(BLUE, hosts=(Host("i", "localhost:80"),)), GREEN)),
            "'localhost:80' is neither",
        ),
        (replace(GOOD, auth=EndpointAuth(AuthMode.TOKEN, (("a", "0a" * 32),))), "takes tokens and has keys"),
        (replace(GOOD, auth=EndpointAuth(AuthMode.TOKEN, tokens_not_before=-1)), "tokens_not_before"),
        (replace(GOOD, auth=EndpointAuth(key_digests=(("a b", "0a" * 32),))), "client name"),
    ],
)
def test_contradictions_are_named(route: EndpointRoute, sentence: str) -> None:
    with pytest.raises(RouteRefusedError) as caught:
        check_route(route)
    assert caught.value.reason is Refusal.INVALID
    assert sentence in str(caught.value)


def test_a_key_given_as_its_digest_is_not_repeated() -> None:
    with pytest.raises(RouteRefusedError) as caught:
        check_route(replace(GOOD, auth=EndpointAuth(key_digests=(("primary", "the-key-itself"),))))
    assert "the-key-itself" not in str(caught.value)
