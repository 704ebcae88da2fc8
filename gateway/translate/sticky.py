"""What a sticky endpoint tells clients apart by, as Envoy's hash policy."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2

from gateway.routes import Sticky, StickyBy


def hash_policy(sticky: Sticky) -> route_components_pb2.RouteAction.HashPolicy:
    """Requests without the header or the cookie have no hash, and are spread at random."""
    policy = route_components_pb2.RouteAction.HashPolicy()
    if sticky.by is StickyBy.HEADER:
        policy.header.header_name = sticky.name
    else:
        # No lifetime: Envoy then sets no cookie of its own.
        policy.cookie.name = sticky.name
    return policy
