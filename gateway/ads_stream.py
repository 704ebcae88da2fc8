"""One connected Envoy: its subscriptions to every type, the order in which it is told things, and who waits for it.

No socket in here: :mod:`gateway.ads` moves bytes, tests drive this directly.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.inspection import GatewayView, ResourceState, ResourceView
from gateway.scrub import scrub
from gateway.snapshot import Key, Resource, ResourceType, Snapshot
from gateway.subscription import Response, Subscription

UPSERT_ORDER = (
    ResourceType.SECRET,
    ResourceType.CLUSTER,
    ResourceType.ENDPOINTS,
    ResourceType.EXTENSION,
    ResourceType.LISTENER,
    ResourceType.SCOPED_ROUTE,
    ResourceType.ROUTE,
)
"""What is named before what names it (rule 5)."""
ROUTE_TYPES = (ResourceType.SCOPED_ROUTE, ResourceType.ROUTE)
BACKEND_TYPES = (ResourceType.CLUSTER, ResourceType.ENDPOINTS)
ROUTES_GRACE_S = 5.0
"""Seconds that an Envoy has to say which routes it holds; one that could not load its listener never says."""


@dataclass(frozen=True, slots=True)
class Request:
    """A delta discovery request, without its protos."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None
    """Envoy's words when it refuses the response ``nonce``."""
    node_id: str = ""
    envoy_version: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A state to wait for: this version of a resource acknowledged, or (None) the resource let go."""

    key: Key
    version: str | None


class RejectedError(Exception):
    """An Envoy answered NACK to something that is waited for. ``reason`` is scrubbed."""

    def __init__(self, key: Key, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(reason)


class Waiter:
    """Completes once every Envoy that was connected at the start has settled every target, or has gone."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outstanding = 0

    def expect(self) -> None:
        """One more thing to settle."""
        self._outstanding += 1

    def arrived(self) -> None:
        """One thing has settled."""
        self._outstanding -= 1
        self.check()

    def check(self) -> None:
        """Complete when nothing is outstanding."""
        if self._outstanding == 0 and not self.future.done():
            self.future.set_result(None)

    def reject(self, error: RejectedError) -> None:
        """Fail at once: the rest cannot repair it."""
        if not self.future.done():
            self.future.set_exception(error)


class AdsStream:
    """The state of one ADS stream."""

    def __init__(
        self,
        snapshot: Snapshot,
        nonces: Callable[[], str],
        clock: Callable[[], float],
        *,
        name: str = "",
        peer: str = "",
        own_listeners: Mapping[str, Resource] | None = None,
    ) -> None:
        """``name``: proven by a certificate that says ``peer``, it counts whatever the Envoy says.

        ``own_listeners``: for it alone.
        """
        self.node_id = ""
        self.name, self.peer = name, peer
        self.dismissed = False
        """It is to end."""
        self._own_listeners = own_listeners
        self.late = False
        """It did not acknowledge in time; nobody waits for it until it has caught up."""
        self._envoy_version = ""
        self.wake = asyncio.Event()
        self._snapshot = snapshot
        self._clock = clock
        self._opened_at = clock()
        self._subscriptions = {kind: Subscription(kind, nonces) for kind in ResourceType}
        self._watched: dict[Key, list[tuple[Target, Waiter]]] = {}

    def dismiss(self) -> None:
        """Tell it nothing more, and end it."""
        self.dismissed = True
        self.wake.set()

    def receive(self, request: Request) -> None:
        """Take a request: an ACK or NACK, a change of interest, or both."""
        self.node_id = self.node_id or self.name or request.node_id
        self._envoy_version = self._envoy_version or request.envoy_version
        try:
            kind = ResourceType(request.type_url)
        except ValueError:
            return  # A type that is not served. Envoy asks only for what its configuration tells it to.
        subscription = self._subscriptions[kind]
        settled: Iterable[str] = ()
        if request.nonce:
            settled = (
                subscription.ack(request.nonce)
                if request.error is None
                else subscription.nack(request.nonce, scrub(request.error))
            )
        told = subscription.subscribe(
            request.subscribe, request.unsubscribe, request.initial_versions, self._present(kind)
        )
        for name in (*settled, *told):
            self._notify((kind, name))
        if self.listener_error:
            self.release()
        if self.late and all(subscription.quiet for subscription in self._subscriptions.values()):
            self.late = False
        self.wake.set()

    def mark(self, keys: Iterable[Key]) -> None:
        """These keys changed in the snapshot."""
        for kind, name in keys:
            if self._subscriptions[kind].mark(name):
                self.wake.set()

    def flush(self) -> Iterator[Response]:
        """Every answer due now, in an order that is safe to apply one by one."""
        for kind in UPSERT_ORDER:
            # A cluster goes only after the routes that used it, see below.
            removals = kind not in BACKEND_TYPES
            for response in self._flush(kind, upserts=True, removals=removals):
                if kind is ResourceType.CLUSTER:
                    # Rule 6: Envoy warms a changed cluster anew but does not ask for its hosts again.
                    for name in response.updated:
                        self._subscriptions[ResourceType.ENDPOINTS].force(name)
                yield response
        if self.may_remove_backends:
            for kind in BACKEND_TYPES:
                yield from self._flush(kind, upserts=False, removals=True)

    @property
    def may_remove_backends(self) -> bool:
        """Whether no route that Envoy holds or is being sent can still name a cluster that is gone.

        An Envoy that reconnects names its clusters first and its routes after them; until then nobody knows which
        clusters those routes still use.
        """
        scopes, routes = (self._subscriptions[kind] for kind in ROUTE_TYPES)
        told = scopes.opened and (routes.opened or not scopes.known)
        late = self._clock() - self._opened_at >= ROUTES_GRACE_S
        return (told or late) and scopes.quiet and routes.quiet

    def watch(self, targets: Iterable[Target], waiter: Waiter) -> None:
        """Tell ``waiter`` when each of ``targets`` is settled here."""
        for target in targets:
            error = self._error(target)
            if error:
                waiter.reject(error)
            elif not self._settled(target):
                waiter.expect()
                self._watched.setdefault(target.key, []).append((target, waiter))

    def forget(self, waiter: Waiter) -> bool:
        """``waiter`` has given up; tells whether it waited for this Envoy."""
        keys = [key for key, watchers in self._watched.items() if any(w is waiter for _, w in watchers)]
        for key in keys:
            self._watched[key] = [(target, w) for target, w in self._watched[key] if w is not waiter]
            if not self._watched[key]:
                del self._watched[key]
        return bool(keys)

    @property
    def listener_error(self) -> str:
        """Why this Envoy does not listen, such as its port being taken; empty while it does.

        It asks for no routes then, and waiting for it is pointless.
        """
        rejected = self._subscriptions[ResourceType.LISTENER].rejected
        return next((rejection.reason for rejection in rejected.values()), "")

    def release(self) -> None:
        """The Envoy has gone, or cannot serve: nobody needs to wait for it. Its stream stays safe by itself."""
        watched, self._watched = self._watched, {}
        for watchers in watched.values():
            for _, waiter in watchers:
                waiter.arrived()

    def pending(self) -> Iterator[Key]:
        """Resources this Envoy has not acknowledged yet."""
        for kind, subscription in self._subscriptions.items():
            for name in subscription.pending():
                yield kind, name

    def rejected(self) -> Iterator[tuple[Key, str]]:
        """What this Envoy refused, and why."""
        for kind, subscription in self._subscriptions.items():
            for name, rejection in subscription.rejected.items():
                yield (kind, name), rejection.reason

    def view(self, wanted: Callable[[str], bool]) -> GatewayView:
        """What this Envoy has. Acknowledged resources are counted, and listed by name where ``wanted``."""
        counts: dict[str, Counter[ResourceState]] = {}
        listed: list[ResourceView] = []
        for kind, subscription in self._subscriptions.items():
            label = kind.name.lower()
            for name, state, reason in subscription.states():
                counts.setdefault(label, Counter())[state] += 1
                if state is not ResourceState.ACKED or wanted(name):
                    listed.append(ResourceView(label, name, state, subscription.known.get(name, ""), reason))
        age = self._clock() - self._opened_at
        return GatewayView(
            self.node_id, self._envoy_version, age, self.late, self.listener_error, counts, tuple(listed)
        )

    def _flush(self, kind: ResourceType, *, upserts: bool, removals: bool) -> Iterator[Response]:
        present = self._present(kind)
        return self._subscriptions[kind].flush(present, upserts=upserts, removals=removals, ready=self._backed)

    def _present(self, kind: ResourceType) -> Mapping[str, Resource]:
        if kind is ResourceType.LISTENER and self._own_listeners is not None:
            return self._own_listeners
        return self._snapshot.resources(kind)

    def _backed(self, resource: Resource) -> bool:
        """Whether this Envoy has the clusters a route names, with their hosts: a route before its cluster is a 503.

        The stages of a change wait for this too; an Envoy that reconnects after several has only this.
        """
        return all(
            self._subscriptions[kind].holds(name)
            for ref_kind, name in resource.refs
            if ref_kind is ResourceType.CLUSTER
            for kind in BACKEND_TYPES
        )

    def _settled(self, target: Target) -> bool:
        kind, name = target.key
        return self._subscriptions[kind].settled(name, target.version)

    def _error(self, target: Target) -> RejectedError | None:
        kind, name = target.key
        rejection = self._subscriptions[kind].rejected.get(name)
        if rejection is None or rejection.version != target.version:
            return None
        return RejectedError(target.key, rejection.reason)

    def _notify(self, key: Key) -> None:
        waiting: list[tuple[Target, Waiter]] = []
        for target, waiter in self._watched.pop(key, ()):
            error = self._error(target)
            if error:
                waiter.reject(error)
            elif self._settled(target):
                waiter.arrived()
            else:
                waiting.append((target, waiter))
        if waiting:
            self._watched[key] = waiting
