"""Refuses a route that contradicts itself, before anything is published.

The API has checked users' input long before; this guards the gateway against its callers, because one resource Envoy
cannot load may sink the message it travels in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.addresses import parse_address
from gateway.routes import AuthMode, DeploymentRoute, EndpointRoute, Refusal, RouteRefusedError

MAX_TIMEOUT_MS = 180_000
MAX_MIRROR_PERCENT = 50
MAX_BYTES = 1 << 30
MAX_RATE = 1_000_000
MAX_RATE_SECONDS = 86_400

_NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]{0,62}[a-zA-Z0-9])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_route(route: EndpointRoute) -> None:
    """Check ``route``.

    Raises:
        RouteRefusedError: INVALID, with the first contradiction as its detail.
    """
    for problem in _problems(route):
        raise RouteRefusedError(
            route.name, Refusal.INVALID, problem, "Correct the endpoint; what served before is unchanged."
        )


def _problems(route: EndpointRoute) -> Iterator[str]:
    if not _NAME.fullmatch(route.name):
        yield f"The endpoint name {route.name!r} is not letters, digits and inner dashes, starting with a letter."
    names = [deployment.name for deployment in route.deployments]
    if len(set(names)) != len(names):
        yield f"Endpoint {route.name!r} names a deployment twice."
    for deployment in route.deployments:
        yield from _deployment_problems(deployment)
    yield from _traffic_problems(route, set(names))
    yield from _auth_problems(route)
    yield from _limit_problems(route)


def _deployment_problems(deployment: DeploymentRoute) -> Iterator[str]:
    name = deployment.name
    if not _NAME.fullmatch(name):
        yield f"The deployment name {name!r} is not letters, digits and inner dashes, starting with a letter."
    if not 1 <= deployment.request_timeout_ms <= MAX_TIMEOUT_MS:
        yield (
            f"request_timeout_ms of deployment {name!r} must be 1 to {MAX_TIMEOUT_MS}, not "
            f"{deployment.request_timeout_ms}."
        )
    if deployment.max_concurrent_requests_per_instance < 1:
        yield f"max_concurrent_requests_per_instance of deployment {name!r} must be at least 1."
    if deployment.instance_count < 0:
        yield f"instance_count of deployment {name!r} must not be negative."
    if len({host.instance for host in deployment.hosts}) != len(deployment.hosts):
        yield f"Deployment {name!r} names an instance twice."
    if deployment.slow_start_ms < 0:
        yield f"slow_start_ms of deployment {name!r} must not be negative."
    for host in deployment.hosts:
        for address in (host.address, *host.grpc_addresses):
            try:
                parse_address(address)
            except ValueError as error:
                yield f"Instance {host.instance!r} of deployment {name!r}: {error}"


def _traffic_problems(route: EndpointRoute, known: set[str]) -> Iterator[str]:
    weights = dict(route.weights)
    if len(weights) != len(route.weights):
        yield f"The traffic of endpoint {route.name!r} names a deployment twice."
    for name, percent in route.weights:
        if name not in known:
            yield f"The traffic of endpoint {route.name!r} names deployment {name!r}, which it does not have."
        if not 0 <= percent <= 100:  # noqa: PLR2004  # percent
            yield f"The traffic of deployment {name!r} must be 0 to 100 percent, not {percent}."
    total = sum(weights.values())
    if total not in {0, 100}:
        yield f"The traffic of endpoint {route.name!r} sums to {total} percent, not 100 (or all 0)."
    if route.mirror is not None:
        if route.mirror.deployment not in known:
            yield f"Endpoint {route.name!r} mirrors to deployment {route.mirror.deployment!r}, which it does not have."
        if not 1 <= route.mirror.percent <= MAX_MIRROR_PERCENT:
            yield f"Mirrored traffic must be 1 to {MAX_MIRROR_PERCENT} percent, not {route.mirror.percent}."
        if weights.get(route.mirror.deployment):
            yield f"Deployment {route.mirror.deployment!r} cannot be mirrored to while it has live traffic."


def _limit_problems(route: EndpointRoute) -> Iterator[str]:
    if not 1 <= route.max_request_bytes <= MAX_BYTES:
        yield f"max_request_bytes must be 1 to {MAX_BYTES}, not {route.max_request_bytes}."
    if route.stream_idle_timeout_ms < 1:
        yield f"stream_idle_timeout_ms must be at least 1, not {route.stream_idle_timeout_ms}."
    limit = route.rate_limit
    if limit is not None and not (1 <= limit.requests <= MAX_RATE and 1 <= limit.seconds <= MAX_RATE_SECONDS):
        yield f"A rate limit of {limit.requests} requests in {limit.seconds} s is out of range."
    if route.sticky is not None and not _TOKEN.fullmatch(route.sticky.name):
        yield f"{route.sticky.name!r} is not the name of a {route.sticky.by.value}."
    if route.sticky is None and any(deployment.sticky_instances for deployment in route.deployments):
        yield f"Endpoint {route.name!r} has sticky instances, and nothing to tell clients apart by."


def _auth_problems(route: EndpointRoute) -> Iterator[str]:
    if route.auth.mode is AuthMode.TOKEN and route.auth.key_digests:
        yield f"Endpoint {route.name!r} takes tokens and has keys."
    if route.auth.tokens_not_before < 0:
        yield f"tokens_not_before must not be negative, not {route.auth.tokens_not_before}."
    for client, digest in route.auth.key_digests:
        if not _DIGEST.fullmatch(digest):
            # The value is not repeated: whoever passed a key by mistake does not want it in a log.
            yield f"The key digest of client {client!r} is not 64 lower-case hexadecimal digits."
        if not _NAME.fullmatch(client):
            yield f"The client name {client!r} is not letters, digits and inner dashes, starting with a letter."
