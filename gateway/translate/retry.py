"""Which failures are tried once more, on another host. The tradeoff is in docs/decisions/gateway-retries.md."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.routes import Retry
from gateway.translate import messages

_UNSENT = "connect-failure,refused-stream,reset-before-request"
RETRY_ON = {
    Retry.UNSENT: _UNSENT,
    # `reset`: no byte of response came, but the instance may have begun to work when it died.
    Retry.UNANSWERED: f"{_UNSENT},reset",
}
"""Which failures, in Envoy's words."""

_BACK_OFF_MS = 1
_HOST_ATTEMPTS = 50
"""Draws of the load balancer until a host other than the failed one is found; the last one drawn is used. A dead host
has no requests, so a least-request draw of two avoids it only when it is in neither: of two hosts one draw in four.
Measured with 5 draws: 187 of 947 retries went to the dead host again; with 50 none of 796."""


_MOST_RETRIES = 4


def policy(retry: Retry, workers: int = 1) -> route_components_pb2.RetryPolicy | None:
    """One retry, at once: the cause is a host, and the retry goes to another.

    ``workers``: hosts that die together, being one instance's: a retry may meet all of them before one that lives.
    """
    if retry is Retry.NEVER:
        return None
    previous = route_components_pb2.RetryPolicy.RetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=messages.pack(previous_hosts_pb2.PreviousHostsPredicate()),
    )
    return route_components_pb2.RetryPolicy(
        retry_on=RETRY_ON[retry],
        num_retries=UInt32Value(value=min(workers, _MOST_RETRIES)),
        retry_host_predicate=[previous],
        host_selection_retry_max_attempts=_HOST_ATTEMPTS,
        retry_back_off=route_components_pb2.RetryPolicy.RetryBackOff(
            base_interval=messages.duration(_BACK_OFF_MS), max_interval=messages.duration(_BACK_OFF_MS)
        ),
    )
