"""The HTTP filters, in the order a request meets them. Order is security: it is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.translate import address, auth, limits, messages

_UNROUTED_BODY_BYTES = 1024 * 1024
"""Body kept for a request whose route sets no limit of its own; there is none, this is the floor under a mistake."""


def http_filters() -> list[hcm.HttpFilter]:
    """The filter chain. It never changes when an endpoint does: what differs comes with the route."""
    return [hcm.HttpFilter(name=name, typed_config=config) for name, config in _ranked()]


def _ranked() -> Iterator[tuple[str, AnyMessage]]:
    # 0. Where no route matched, and only there: the other addresses of an endpoint.
    yield address.FILTER, address.address_filter()
    # 1. Keys first: whoever has no business here costs a hash, not a buffered body. It is also the first to see the
    #    request and the last to see the response, so that a model's status is renamed after everything else ran.
    yield auth.LUA_FILTER, auth.key_filter()
    # 2. The backstop directly behind every way to prove oneself, before anything spends memory on the request.
    yield auth.RBAC_FILTER, auth.backstop()
    # 3. The rate limit counts proven clients, and refuses before a body is gathered. It is there for every request:
    #    what is switched on by a route alone is off for those whose route is found by the address filter.
    yield limits.RATE_FILTER, limits.rate_filter()
    # 4. The body limit. It buffers, so it comes after authentication: only known clients may hold memory.
    yield (
        limits.BUFFER_FILTER,
        messages.pack(buffer_pb2.Buffer(max_request_bytes=UInt32Value(value=_UNROUTED_BODY_BYTES))),
    )
    # 5. The router ends every chain; it does timeouts, retries, mirrors and shares.
    yield "envoy.filters.http.router", messages.pack(router_pb2.Router())
