"""The HTTP filters, in the order a request meets them. Order is security: it is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.translate import address, auth, limits, messages, tokens

_UNROUTED_BODY_BYTES = 1024 * 1024
"""Body kept for a request whose route sets no limit of its own; there is none, this is the floor under a mistake."""


def http_filters() -> list[hcm.HttpFilter]:
    """The filter chain. It never changes when an endpoint does: what differs comes with the route."""
    return [
        hcm.HttpFilter(name=name, typed_config=config)
        if isinstance(config, AnyMessage)
        else hcm.HttpFilter(name=name, config_discovery=config)
        for name, config in _ranked()
    ]


def _ranked() -> Iterator[tuple[str, AnyMessage | config_source_pb2.ExtensionConfigSource]]:
    # 0. Where no route matched, and only there: the other addresses of an endpoint.
    yield address.FILTER, address.address_filter()
    # 1. Tokens, where the route asks for one. Before the keys, because it removes the client's name from every request:
    #    that name is its own word. It does not touch responses.
    yield tokens.FILTER, tokens.discovery()
    # 2. Keys: whoever has no business here costs a hash, not a buffered body. It is the last to see the response, so
    #    that a model's status is renamed after everything else ran.
    yield auth.LUA_FILTER, auth.key_filter()
    # 3. The backstop directly behind every way to prove oneself, before anything spends memory on the request.
    yield auth.RBAC_FILTER, auth.backstop()
    # 4. The rate limit counts proven clients, and refuses before a body is gathered. It is there for every request:
    #    what is switched on by a route alone is off for those whose route is found by the address filter.
    yield limits.RATE_FILTER, limits.rate_filter()
    # 5. The body limit. It buffers, so it comes after authentication: only known clients may hold memory.
    yield (
        limits.BUFFER_FILTER,
        messages.pack(buffer_pb2.Buffer(max_request_bytes=UInt32Value(value=_UNROUTED_BODY_BYTES))),
    )
    # 6. The router ends every chain; it does timeouts, retries, mirrors and shares.
    yield "envoy.filters.http.router", messages.pack(router_pb2.Router())
