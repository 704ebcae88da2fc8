"""The gateway as the reconcilers see it: routes go in, and a call returns when every Envoy serves them.

Each endpoint moves through the stages of :mod:`gateway.stages`; a stage is published as a change of the snapshot and
waited for. What was published is remembered stage by stage, so a call that failed half-way is simply made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import grpc
import structlog

from gateway.ads import AdsServer
from gateway.ads_port import AdsPort
from gateway.ads_stream import RejectedError, Target
from gateway.certificate import Certificate
from gateway.inspection import GatewayView
from gateway.journal import Journal, Seal
from gateway.routes import (
    DeploymentRoute,
    EndpointAuth,
    EndpointRoute,
    GatewayStatus,
    Refusal,
    RouteRefusedError,
    TokenTrust,
)
from gateway.settings import GatewaySettings
from gateway.snapshot import Change, Key, Resource, ResourceType, Snapshot
from gateway.stages import ABSENT, Stage, plan, retreat
from gateway.translate import names
from gateway.translate.cluster import cluster
from gateway.translate.endpoints import load_assignment
from gateway.translate.listener import listeners
from gateway.translate.route import route_configuration
from gateway.translate.scoped_route import scoped_route
from gateway.translate.tls import secret
from gateway.translate.tokens import NOBODY, token_filter
from gateway.translate.upstream_tls import secrets as upstream_secrets
from gateway.validate import check_route

_log = structlog.get_logger(__name__)

ENDPOINT_TYPES = (ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.SCOPED_ROUTE, ResourceType.ROUTE)
"""Resources that belong to one endpoint."""
CERTIFICATE_KEY = (ResourceType.SECRET, names.CERTIFICATE)


class EnvoyRouter:
    """Implements :class:`gateway.routes.Router` on Envoy.

    With no Envoy connected, :meth:`apply` records the route (whoever connects is given it at once) and raises ABSENT,
    so that nobody is told an endpoint serves when nothing does; the reconciler calls again, at the latest when
    ``on_connection`` says that an Envoy is back. :meth:`remove` succeeds: whoever connects never hears of the
    endpoint.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        on_connection: Callable[[int], None] = lambda _connected: None,
        clock: Callable[[], float] = time.monotonic,
        seal: Seal | None = None,
    ) -> None:
        """``on_connection`` is called with the number of connected Envoys when it changes; ``clock`` is for tests.

        ``seal`` encrypts the secrets of the snapshot on disk; without it they are left out there.
        """
        self._settings = settings
        self._clock = clock
        self._seal = seal
        self._snapshot = Snapshot()
        self._server = AdsServer(self._snapshot, clock=clock, on_connection=on_connection)
        self._stages: dict[str, Stage] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._rejected: dict[str, str] = {}
        self._preloaded = False
        self._server.publish(Change(upserts=(*listeners(settings), token_filter(NOBODY))))

    def preload(self, routes: tuple[EndpointRoute, ...]) -> None:
        """See :meth:`gateway.routes.Router.preload`.

        A route that contradicts itself is left out and reported by :meth:`status`: one bad row must not keep every
        other endpoint from being served.
        """
        for route in routes:
            try:
                check_route(route)
            except RouteRefusedError as error:
                self._rejected[route.name] = str(error)
                _log.error("route left out", endpoint=route.name, reason=str(error))
            else:
                self._publish(route.name, Stage.of(route))
        self._preloaded = True

    async def start(self, services: Sequence[grpc.GenericRpcHandler] = (), port: AdsPort | None = None) -> None:
        """Open the ADS socket, with ``services`` beside it, and ``port`` for gateways of other machines.

        Raises:
            RuntimeError: :meth:`preload` was not called, or the socket cannot be made.
            AdsAddressError: ``port`` cannot be had.
        """
        if not self._preloaded:
            raise RuntimeError("The gateway's state must be preloaded before Envoys may connect.")
        if self._settings.tls_port is not None and self._snapshot.get(CERTIFICATE_KEY) is None:
            raise RuntimeError("A gateway that speaks TLS needs a certificate before Envoys may connect.")
        if self._settings.snapshot_file is not None:
            self._server.keep(Journal(self._settings.snapshot_file, self._clock, self._seal))
        await self._server.start(self._settings.ads_socket, services, port=port)

    async def stop(self) -> None:
        """Close the ADS socket. Envoys keep serving."""
        await self._server.stop()

    async def apply(self, route: EndpointRoute) -> None:
        """See :meth:`gateway.routes.Router.apply`."""
        check_route(route)
        async with self._exclusive(route.name):
            before = self._stages.get(route.name, ABSENT)
            try:
                await self._advance(route.name, Stage.of(route))
            except RouteRefusedError as error:
                if error.reason is Refusal.REJECTED:
                    self._rejected[route.name] = str(error)
                    await self._go_back(route.name, before, route.auth)
                raise
            self._rejected.pop(route.name, None)
            self._check_served(route.name)

    async def remove(self, endpoint: str) -> None:
        """See :meth:`gateway.routes.Router.remove`."""
        async with self._exclusive(endpoint):
            await self._advance(endpoint, ABSENT)
            self._rejected.pop(endpoint, None)

    def knows(self, endpoint: str, deployment: str = "") -> bool:
        """Whether Envoys are told of an endpoint (and of a deployment of it): what signals may be kept about."""
        stage = self._stages.get(endpoint)
        return stage is not None and (not deployment or any(d.name == deployment for d in stage.backends))

    def deployments(self) -> dict[str, tuple[str, ...]]:
        """Every endpoint that Envoys are told of, with its deployments, both sorted."""
        return {name: tuple(sorted(d.name for d in stage.backends)) for name, stage in sorted(self._stages.items())}

    async def set_jwks(self, trust: TokenTrust) -> None:
        """See :meth:`gateway.routes.Router.set_jwks`."""
        await self._set(token_filter(trust), "the keys that verify tokens")

    async def set_certificate(self, certificate: Certificate) -> None:
        """Show clients this certificate from now on, and return once every connected Envoy has acknowledged it.

        With :attr:`GatewaySettings.tls_port` one must be set before :meth:`start`. Open connections keep theirs.

        Raises:
            RouteRefusedError: an Envoy did not take it; what was shown before still is. Its ``endpoint`` is empty.
        """
        await self._set(secret(certificate), "the certificate")

    async def set_upstream_identity(self, client: Certificate, authority: bytes) -> None:
        """Show ``client`` to instances reached over TCP from now on, and trust those that ``authority`` (PEM) signed.

        With :attr:`GatewaySettings.mutual_tls` it must be called before :meth:`preload`. Open connections stay.

        Raises:
            RouteRefusedError: as for :meth:`set_certificate`.
        """
        for resource in upstream_secrets(client, authority):
            await self._set(resource, "the certificate for instances")

    def turn_away(self) -> None:
        """End what gateways were told over that are not enrolled any more."""
        self._server.turn_away()

    def status(self) -> GatewayStatus:
        """See :meth:`gateway.routes.Router.status`. A rejected listener stands under ``listener/gateway``."""
        streams = self._server.streams
        pending = {
            names.endpoint_of(name) for stream in streams for kind, name in stream.pending() if kind in ENDPOINT_TYPES
        }
        rejected = dict(self._rejected)
        for stream in streams:
            for (kind, name), reason in stream.rejected():
                rejected.setdefault(_label(kind, name), reason)
        return GatewayStatus(
            connected=len(streams),
            endpoints=sum(stage.front is not None for stage in self._stages.values()),
            pending=tuple(sorted(pending)),
            rejected=rejected,
        )

    def gateways(self, endpoint: str = "") -> tuple[GatewayView, ...]:
        """Each connected gateway: what it has not acknowledged or has refused, and all that it has of ``endpoint``."""
        return tuple(stream.view(lambda name: names.endpoint_of(name) == endpoint) for stream in self._server.streams)

    def longest_request_ms(self) -> int:
        """The longest that a request of any endpoint may take; 0 without endpoints."""
        return max((d.request_timeout_ms for stage in self._stages.values() for d in stage.backends), default=0)

    async def _set(self, resource: Resource, what: str) -> None:
        """Publish a resource that every endpoint shares, and wait for every Envoy."""
        before = self._snapshot.get(resource.key)
        self._server.publish(Change(upserts=(resource,)))
        try:
            await self._server.wait([Target(resource.key, resource.version)], self._settings.ack_timeout_s)
        except RejectedError as error:
            if before is not None:
                # For the Envoys that took it, and for those that connect later.
                self._server.publish(Change(upserts=(before,)))
            detail = f"The gateway refused {what}: {error.reason}"
            raise RouteRefusedError("", Refusal.REJECTED, detail, "What was in force still is.") from error
        except TimeoutError as error:
            detail = f"A gateway did not acknowledge {what} within {self._settings.ack_timeout_s:g} s."
            raise RouteRefusedError("", Refusal.TIMEOUT, detail, "It is tried again.") from error

    def _check_served(self, endpoint: str) -> None:
        errors = [stream.listener_error for stream in self._server.streams]
        if any(not error for error in errors):
            return
        detail = f"The gateway does not listen: {errors[0]}" if errors else "No gateway is connected."
        hint = "The route takes effect once a gateway is there: see its log."
        raise RouteRefusedError(endpoint, Refusal.ABSENT, detail, hint)

    @contextlib.asynccontextmanager
    async def _exclusive(self, endpoint: str) -> AsyncIterator[None]:
        """One change of an endpoint at a time; different endpoints do not wait for each other."""
        lock, waiting = self._locks.get(endpoint, (asyncio.Lock(), 0))
        self._locks[endpoint] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[endpoint]
            if waiting == 1:
                del self._locks[endpoint]
            else:
                self._locks[endpoint] = lock, waiting - 1

    async def _advance(self, endpoint: str, goal: Stage) -> None:
        """Move an endpoint to ``goal``, waiting for every Envoy at every stage."""
        current = self._stages.get(endpoint, ABSENT)
        # Without a stage to go through, a former call's may still be unacknowledged: wait for the goal itself.
        for stage in plan(current, goal) or (goal,):
            removed = self._publish(endpoint, stage)
            targets = [*self._targets(endpoint, stage), *(Target(key, None) for key in removed)]
            try:
                await self._server.wait(targets, self._settings.ack_timeout_s)
            except RejectedError as error:
                raise RouteRefusedError(
                    endpoint,
                    Refusal.REJECTED,
                    f"The gateway refused the configuration of endpoint {endpoint!r}: {error.reason}",
                    "What served before still does, for those who may call now.",
                ) from error
            except TimeoutError as error:
                raise RouteRefusedError(
                    endpoint,
                    Refusal.TIMEOUT,
                    f"A gateway did not acknowledge within {self._settings.ack_timeout_s:g} s.",
                    "It is tried again; what served before still does.",
                ) from error

    async def _go_back(self, endpoint: str, before: Stage, auth: EndpointAuth) -> None:
        """After a NACK what served before is the state again, for those who may call now.

        That is for the Envoys that took the new one, and for those that connect later.
        """
        for stage in retreat(before, auth):
            try:
                return await self._advance(endpoint, stage)
            except RouteRefusedError as error:
                if error.reason is not Refusal.REJECTED:
                    return None
        return None

    def _publish(self, endpoint: str, stage: Stage) -> tuple[Key, ...]:
        """Publish one stage; returns the keys it takes away. Only what differs is translated."""
        before = self._stages.get(endpoint, ABSENT)
        was = {deployment.name: deployment for deployment in before.backends}
        upserts: list[Resource] = []
        for deployment in stage.backends:
            if was.get(deployment.name) != deployment:
                for http2 in _protocols(deployment):
                    upserts.append(cluster(endpoint, deployment, self._settings, grpc=http2))
                    upserts.append(load_assignment(endpoint, deployment, grpc=http2))
        kept = set(_backend_keys(endpoint, stage))
        removals = [key for key in _backend_keys(endpoint, before) if key not in kept]
        if stage.front is None:
            removals += _front_keys(endpoint)
        elif stage.front != before.front:
            upserts += (route_configuration(stage.front), scoped_route(endpoint))
        removals = [key for key in removals if self._snapshot.get(key) is not None]
        self._server.publish(Change(tuple(upserts), tuple(removals)))
        if stage == ABSENT:
            self._stages.pop(endpoint, None)
        else:
            self._stages[endpoint] = stage
        return tuple(removals)

    def _targets(self, endpoint: str, stage: Stage) -> Iterator[Target]:
        keys: list[Key] = [*_backend_keys(endpoint, stage)]
        if stage.front is not None:
            keys += _front_keys(endpoint)
        for key in keys:
            resource = self._snapshot.get(key)
            if resource is not None:
                yield Target(key, resource.version)


def _protocols(deployment: DeploymentRoute) -> tuple[bool, ...]:
    """A deployment that answers gRPC has a second cluster, which speaks HTTP/2."""
    return (False, True) if deployment.grpc else (False,)


def _backend_keys(endpoint: str, stage: Stage) -> Iterator[Key]:
    for deployment in stage.backends:
        for http2 in _protocols(deployment):
            name = names.cluster_name(endpoint, deployment.name, grpc=http2)
            yield ResourceType.CLUSTER, name
            yield ResourceType.ENDPOINTS, name


def _label(kind: ResourceType, name: str) -> str:
    return names.endpoint_of(name) if kind in ENDPOINT_TYPES else f"{kind.name.lower()}/{name}"


def _front_keys(endpoint: str) -> tuple[Key, Key]:
    return (ResourceType.ROUTE, names.route_config_name(endpoint)), (ResourceType.SCOPED_ROUTE, endpoint)
