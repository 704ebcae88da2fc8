"""What every Envoy should have: whole, content-hashed, and never dangling.

A resource's version is the hash of its bytes. A control plane that restarts therefore derives the versions Envoy
already holds, and sends almost nothing. The snapshot refuses a change that would leave a name pointing at nothing,
since Envoy does not: a route to a missing cluster answers 503.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b


class ResourceType(StrEnum):
    """The xDS types served, by type URL."""

    SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    SCOPED_ROUTE = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


WILDCARD_TYPES = frozenset({ResourceType.CLUSTER, ResourceType.LISTENER, ResourceType.SCOPED_ROUTE})
"""Types for which an empty first subscription means everything."""

Key = tuple[ResourceType, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One serialised xDS resource and the names it depends on."""

    type: ResourceType
    name: str
    body: bytes
    version: str
    refs: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        """Type and name: what identifies it."""
        return self.type, self.name

    @classmethod
    def of(cls, kind: ResourceType, name: str, body: bytes, refs: tuple[Key, ...] = ()) -> Resource:
        """A resource whose version is the hash of ``body``, which must be serialised deterministically."""
        return cls(kind, name, body, blake2b(body, digest_size=8).hexdigest(), refs)


@dataclass(frozen=True, slots=True)
class Change:
    """Resources to set and to drop, published together."""

    upserts: tuple[Resource, ...] = ()
    removals: tuple[Key, ...] = ()


class DanglingReferenceError(Exception):
    """A change would leave a resource pointing at a name that is not there. A defect of the caller, never of a user."""

    def __init__(self, resource: Key, missing: Key) -> None:
        self.resource, self.missing = resource, missing
        super().__init__(f"{_label(resource)} would point at {_label(missing)}, which does not exist")


class Snapshot:
    """All resources by type and name. Changes are atomic, and cost what they touch, not what is there."""

    def __init__(self) -> None:
        self._by_type: dict[ResourceType, dict[str, Resource]] = {kind: {} for kind in ResourceType}
        self._referrers: dict[Key, set[Key]] = {}

    def resources(self, kind: ResourceType) -> Mapping[str, Resource]:
        """The resources of a type, by name; a live view."""
        return self._by_type[kind]

    def get(self, key: Key) -> Resource | None:
        """A resource, or None."""
        return self._by_type[key[0]].get(key[1])

    def apply(self, change: Change) -> tuple[Key, ...]:
        """Publish ``change``; return the keys whose content differs now.

        Raises:
            DanglingReferenceError: nothing was changed.
        """
        upserts = {resource.key: resource for resource in change.upserts}
        removals = set(change.removals) - upserts.keys()
        self._check(upserts, removals)
        changed: list[Key] = []
        for key, resource in upserts.items():
            before = self.get(key)
            if before is not None and before.version == resource.version:
                continue
            self._unlink(before)
            self._by_type[resource.type][resource.name] = resource
            for ref in resource.refs:
                self._referrers.setdefault(ref, set()).add(key)
            changed.append(key)
        for key in removals:
            before = self._by_type[key[0]].pop(key[1], None)
            if before is not None:
                self._unlink(before)
                changed.append(key)
        return tuple(changed)

    def _check(self, upserts: Mapping[Key, Resource], removals: set[Key]) -> None:
        for key, resource in upserts.items():
            for ref in resource.refs:
                if ref in removals or (ref not in upserts and self.get(ref) is None):
                    raise DanglingReferenceError(key, ref)
        for removed in removals:
            for referrer in self._referrers.get(removed, ()):
                # A referrer that is replaced was checked above, with its new references.
                if referrer not in removals and referrer not in upserts:
                    raise DanglingReferenceError(referrer, removed)

    def _unlink(self, resource: Resource | None) -> None:
        if resource is None:
            return
        for ref in resource.refs:
            referrers = self._referrers[ref]
            referrers.discard(resource.key)
            if not referrers:
                del self._referrers[ref]


def _label(key: Key) -> str:
    return f"{key[0].rpartition('.')[2]} {key[1]!r}"
