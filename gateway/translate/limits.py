"""What one endpoint lets its clients ask: the size of a body, and how many requests of one key.

Both are filters that a route switches on. They stand behind authentication, so that only known clients can use memory
or another client's share.
"""

from __future__ import annotations

import math

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.type.v3 import range_pb2, token_bucket_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from gateway.routes import RateLimit
from gateway.translate import messages, names

BUFFER_FILTER = "envoy.filters.http.buffer"
RATE_FILTER = "envoy.filters.http.local_ratelimit"

_CLIENTS = 10_000
"""Buckets of one endpoint; beyond it the one longest unused starts anew."""
_ALL = 1_000_000_000
_CLIENT = "client"


def body_limit(limit: int) -> AnyMessage:
    """A route's limit, in bytes."""
    limits = buffer_pb2.Buffer(max_request_bytes=UInt32Value(value=limit))
    return messages.pack(buffer_pb2.BufferPerRoute(buffer=limits))


def unbuffered() -> AnyMessage:
    """For routes whose bodies are passed on as they come."""
    return messages.pack(buffer_pb2.BufferPerRoute(disabled=True))


def announced_over(limit: int) -> route_components_pb2.HeaderMatcher:
    """Recognises a request that announces more bytes than ``limit``."""
    return route_components_pb2.HeaderMatcher(
        name="content-length", range_match=range_pb2.Int64Range(start=limit + 1, end=2**63 - 1)
    )


def rate_filter() -> AnyMessage:
    """The listener's side; without a route's own word nothing is limited."""
    return messages.pack(local_rate_limit_pb2.LocalRateLimit(stat_prefix=_CLIENT))


def rate_limit(limit: RateLimit) -> AnyMessage:
    """A route's limit: one bucket for each client name, shared by all workers of a gateway."""
    action = route_components_pb2.RateLimit.Action
    by_client = action.RequestHeaders(header_name=names.HEADER_CLIENT, descriptor_key=_CLIENT)
    descriptor = ratelimit_pb2.LocalRateLimitDescriptor(
        # Without a value: a bucket is made for each that occurs.
        entries=[ratelimit_pb2.RateLimitDescriptor.Entry(key=_CLIENT)],
        token_bucket=_bucket(limit.requests, limit.seconds),
    )
    retry_after = base_pb2.HeaderValue(key="retry-after", value=str(math.ceil(limit.seconds / limit.requests)))
    return messages.pack(
        local_rate_limit_pb2.LocalRateLimit(
            stat_prefix=_CLIENT,
            # Envoy wants one for requests without a client; there are none behind authentication.
            token_bucket=_bucket(_ALL, 1),
            always_consume_default_token_bucket=BoolValue(value=False),
            filter_enabled=_always(),
            filter_enforced=_always(),
            rate_limits=[
                route_components_pb2.RateLimit(actions=[action(request_headers=by_client)]),
            ],
            descriptors=[descriptor],
            max_dynamic_descriptors=UInt32Value(value=_CLIENTS),
            response_headers_to_add=[
                base_pb2.HeaderValueOption(
                    header=retry_after, append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
                )
            ],
        )
    )


def _bucket(requests: int, seconds: int) -> token_bucket_pb2.TokenBucket:
    return token_bucket_pb2.TokenBucket(
        max_tokens=requests, tokens_per_fill=UInt32Value(value=requests), fill_interval=Duration(seconds=seconds)
    )


def _always() -> base_pb2.RuntimeFractionalPercent:
    fraction = base_pb2.RuntimeFractionalPercent(runtime_key="penstock.none")
    fraction.default_value.numerator = 100
    return fraction
