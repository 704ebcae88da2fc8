"""The intermediate form: what the gateway is asked to do, in Penstock's words.

The reconcilers speak this language and nothing else of the gateway; :mod:`gateway.translate` turns it into Envoy's
resources. It is pure data, so a golden test can hold both sides of the translation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class HostHealth(StrEnum):
    """Whether new requests may go to a host."""

    SERVING = "serving"
    DRAINING = "draining"
    """In-flight requests finish; no new request arrives."""


@dataclass(frozen=True, slots=True)
class Host:
    """One instance as Envoy reaches it.

    ``address`` is ``unix:///absolute/path.sock``, ``ADDRESS:PORT`` (an IP address, IPv6 in brackets), or
    ``tls://ADDRESS:PORT``: both sides prove who they are then (docs/decisions/mutual-tls.md).
    """

    instance: str
    address: str
    health: HostHealth = HostHealth.SERVING
    grpc_addresses: tuple[str, ...] = ()
    """Where the instance answers gRPC, spelled like ``address``: one for each of its workers. Empty: it does not."""


@dataclass(frozen=True, slots=True)
class DeploymentRoute:
    """One deployment behind an endpoint, with the hosts that can answer for it now (none is allowed: 503)."""

    name: str
    hosts: tuple[Host, ...] = ()
    max_concurrent_requests_per_instance: int = 1
    """Requests one instance works on at once. With it the gateway sizes the deployment's circuit breaker."""
    instance_count: int = 1
    """Instances wanted; pending requests beyond 2 x max_concurrent x instance_count get 429."""
    request_timeout_ms: int = 5000
    """Milliseconds without a byte in either direction until a request is answered 408; an answer that has begun is
    broken off. 1 to 180,000."""
    grpc: bool = False
    """Whether its instances answer gRPC too, at :attr:`Host.grpc_addresses`."""
    grpc_workers: int = 1
    """Addresses that one of its instances has for gRPC, at most: so many fail at once when it dies."""
    slow_start_ms: int = 0
    """Milliseconds over which a new instance's share grows to its full one. 0: at once."""
    sticky_instances: bool = False
    """With :attr:`EndpointRoute.sticky`: one client's requests keep to one instance, instead of to the least busy."""


class AuthMode(StrEnum):
    """How a client proves who it is. There is no mode without proof."""

    KEY = "key"
    TOKEN = "aml_token"


@dataclass(frozen=True, slots=True)
class EndpointAuth:
    """What an endpoint accepts. Holds digests only: a key never enters the gateway's configuration."""

    mode: AuthMode = AuthMode.KEY
    key_digests: tuple[tuple[str, str], ...] = ()
    """Pairs (client name, SHA-256 of the key in lower-case hex), such as ``("primary", "9f86...")``. Empty: nobody."""
    tokens_not_before: int = 0
    """Token mode: tokens issued before this unix second are refused (revocation)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies tokens: ECDSA on P-256, both coordinates in base64url. It has no place for a private part."""

    kid: str
    x: str
    y: str


@dataclass(frozen=True, slots=True)
class TokenTrust:
    """Which tokens are genuine, for every endpoint in token mode. Without keys none is."""

    issuer: str
    audience: str
    keys: tuple[PublicKey, ...] = ()
    """The present key and, while tokens signed with it may live, each former one."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of live requests, sent to a deployment whose answers are thrown away."""

    deployment: str
    percent: int
    """1 to 50."""


class Retry(StrEnum):
    """When a request is tried once more, on another instance: docs/decisions/gateway-retries.md."""

    UNANSWERED = "unanswered"
    """The instance broke off before any byte of its answer; it may have begun to work. The default."""
    UNSENT = "unsent"
    """Nothing of the request was sent: no connection, or the instance refused it."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What one client (one key) may ask of an endpoint: a bucket of ``requests`` that fills in ``seconds``."""

    requests: int
    """1 to 1,000,000."""
    seconds: int = 1
    """1 to 86,400."""


class StickyBy(StrEnum):
    """Where the value is that tells clients apart."""

    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Sticky:
    """Requests of one value keep to one deployment of a split. Those without a value are spread as without it."""

    by: StickyBy
    name: str
    """Of the header or the cookie. The gateway sets no cookie of its own."""


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """Everything the gateway knows of one endpoint. Applying it again changes nothing."""

    name: str
    auth: EndpointAuth
    deployments: tuple[DeploymentRoute, ...] = ()
    weights: tuple[tuple[str, int], ...] = ()
    """Pairs (deployment, percent); the sum is 100, or nothing has traffic (404). Zeros may be left out."""
    mirror: Mirror | None = None
    max_request_bytes: int = 16 * 1024 * 1024
    """Larger request bodies get 413."""
    stream_requests: bool = False
    """Pass bodies on as they arrive. Otherwise they are gathered first, so that a slow client costs no instance its
    time. Streamed, ``max_request_bytes`` holds for what ``Content-Length`` announces alone."""
    retry: Retry = Retry.UNANSWERED
    rate_limit: RateLimit | None = None
    """Of each key; None: no limit. More gets 429 with ``Retry-After``."""
    sticky: Sticky | None = None
    websocket: bool = False
    """Whether connections may be upgraded to WebSocket. Off, because it doubles the routes of an endpoint: measured
    at 14 KB of each gateway's memory with two deployments."""
    stream_idle_timeout_ms: int = 300_000
    """Milliseconds without a byte until a WebSocket or a bidirectional gRPC stream is closed."""


class Refusal(StrEnum):
    """Why a route did not take effect."""

    INVALID = "InvalidRoute"
    """The route contradicts itself: weights that do not sum to 100, or name a deployment it lacks."""
    REJECTED = "RejectedByGateway"
    """An Envoy answered NACK; it keeps serving what it had."""
    TIMEOUT = "GatewayTimeout"
    """A connected Envoy did not answer in time."""
    ABSENT = "NoGateway"
    """No Envoy is connected, or none can listen; the route is kept for the one that will."""


@dataclass(eq=False)
class RouteRefusedError(Exception):
    """A route did not take effect. ``detail`` is one sentence, free of secrets."""

    endpoint: str
    reason: Refusal
    detail: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """The sentence shown in an endpoint's condition."""
        return self.detail or self.reason.value


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What the gateway would answer right now."""

    connected: int
    """Envoys with an open ADS stream."""
    endpoints: int
    pending: tuple[str, ...] = ()
    """Endpoints with a resource that some Envoy has not acknowledged yet."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Endpoint -> the scrubbed reason of its latest NACK."""


class Router(Protocol):
    """The port through which reconcilers change the gateway. :class:`gateway.router.EnvoyRouter` implements it."""

    def preload(self, routes: tuple[EndpointRoute, ...]) -> None:
        """Set the state before any Envoy may connect.

        A control plane that restarts must: an empty first answer would make Envoy drop what it serves.
        """

    async def apply(self, route: EndpointRoute) -> None:
        """Make ``route`` effective, make-before-break, and return once every connected Envoy has acknowledged it.

        The difference to what was applied before decides the order (clusters before the routes that name them,
        routes before the clusters they no longer name). Safe to call again after an error, and concurrently
        for different endpoints; for the same endpoint the later call waits for the earlier.

        Raises:
            RouteRefusedError: nothing that served before has changed for the worse.
        """

    async def remove(self, endpoint: str) -> None:
        """Forget an endpoint (404 from then on); does nothing for an unknown one. Raises as :meth:`apply`."""

    async def set_jwks(self, trust: TokenTrust) -> None:
        """Make ``trust`` effective and return once every connected Envoy has acknowledged it.

        Called before any Envoy may connect it returns at once. No connection is touched by it.

        Raises:
            RouteRefusedError: an Envoy did not take it; what was trusted before still is. Its ``endpoint`` is empty.
        """

    def status(self) -> GatewayStatus:
        """The present state, for ``penstock status``."""
