"""What one Envoy wants and has of one resource type: the state machine of delta xDS, with no socket and no protos.

Envoy's habits, each learned by running it, are written beside the line that meets them. The rules' numbers are those of
docs/decisions/gateway-ads.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from gateway.inspection import ResourceState
from gateway.snapshot import WILDCARD_TYPES, Resource, ResourceType

MAX_RESOURCES_PER_RESPONSE = 1_000
"""For types asked for by name. Wildcard types go out whole: Envoy takes the first answer for the complete state, and
would start to serve with a part of it."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to send. ``updated`` are clusters and the like that Envoy had in another version before."""

    nonce: str
    type: ResourceType
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version Envoy refused; it keeps the one it had."""

    version: str
    reason: str


@dataclass(slots=True)
class Subscription:
    """The state of one (stream, type)."""

    type: ResourceType
    nonces: Callable[[], str]
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    """Name -> version sent, whether acknowledged, refused or under way."""
    rejected: dict[str, Rejection] = field(default_factory=dict)
    _opened: bool = False
    _answer_due: bool = False
    _dirty: dict[str, None] = field(default_factory=dict)
    """Names whose content may differ from ``known``; a dict keeps their order."""
    _forced: dict[str, None] = field(default_factory=dict)
    """Names to send whatever ``known`` says. Kept until subscribed: a forced name may be asked for a moment later."""
    _alone: dict[str, None] = field(default_factory=dict)
    _flying: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Nonce -> names that went with it."""
    _unacked: dict[str, str] = field(default_factory=dict)
    """Name -> the nonce it last went with."""

    def subscribe(
        self,
        add: Iterable[str],
        drop: Iterable[str],
        initial_versions: Mapping[str, str],
        present: Mapping[str, Resource],
    ) -> list[str]:
        """Take a request's changes of interest; returns the names it settles: let go, or told to be held already."""
        added = list(add)
        first, self._opened = not self._opened, True
        if first:
            # Rule 1: an empty first subscription to these types means everything.
            self.wildcard = not added and self.type in WILDCARD_TYPES
        if "*" in added:
            added.remove("*")
            self.wildcard = True
        if first:
            # Rule 2: after a reconnect Envoy says what it has; equal hashes are not sent again.
            self.known = {n: v for n, v in initial_versions.items() if self.wildcard or n in added}
        if self.wildcard and first:
            # Rule 1: always answered, even when there is nothing to say: Envoy waits for it.
            self._answer_due = True
            self._dirty.update(dict.fromkeys((*present, *self.known)))
        for name in added:
            self.names.add(name)
            if first and name in initial_versions:
                self._dirty[name] = None
            else:
                # Rule 4: asking again means send again, and rule 3: a name that is not there is answered too.
                self._forced[name] = None
        return [*(self.known if first else ()), *self._drop(drop)]

    def mark(self, name: str) -> bool:
        """The snapshot's resource of this name changed; returns whether this Envoy cares."""
        if not (self.wildcard or name in self.names):
            return False
        self._dirty[name] = None
        return True

    def force(self, name: str) -> None:
        """Send ``name`` again although its version is known, now or once it is subscribed."""
        self._forced[name] = None

    def flush(
        self,
        present: Mapping[str, Resource],
        *,
        upserts: bool,
        removals: bool,
        ready: Callable[[Resource], bool] = lambda _resource: True,
    ) -> Iterator[Response]:
        """The answers due. Upserts and removals go out in different places of the flush order (rule 5).

        What is not ``ready`` stays due.
        """
        if upserts:
            yield from self._flush_upserts(present, ready)
        if removals:
            gone = [name for name in self._dirty if name not in present]
            for name in gone:
                del self._dirty[name]
            gone = [name for name in gone if name in self.known]
            if gone:
                yield self._response([], gone)

    def ack(self, nonce: str) -> tuple[str, ...]:
        """Envoy took a response; returns the names that are settled by it."""
        return tuple(self._land(nonce))

    def nack(self, nonce: str, reason: str) -> tuple[str, ...]:
        """Envoy refused a response; returns the names that are settled (as rejected) by it."""
        names = self._land(nonce)
        if len(names) > 1:
            # Rule 7: one bad resource sinks its message. Each is sent again alone, so the good ones get through.
            self._alone.update(dict.fromkeys(names))
            return ()
        for name in names:
            # It stays known: sending the same bytes again would be refused again.
            self.rejected[name] = Rejection(self.known.get(name, ""), reason)
        return tuple(names)

    def settled(self, name: str, version: str | None) -> bool:
        """Whether Envoy has acknowledged ``version`` of ``name`` (None: has let it go)."""
        if name in self._unacked or name in self._alone or name in self.rejected:
            return False
        if version is None:
            return name not in self.known
        return self.known.get(name) == version

    def holds(self, name: str) -> bool:
        """Whether Envoy has acknowledged some version of ``name``, or refused it: waiting longer brings nothing."""
        return name in self.rejected or (name in self.known and name not in self._unacked)

    @property
    def opened(self) -> bool:
        """Whether Envoy has said what it wants of this type."""
        return self._opened

    @property
    def quiet(self) -> bool:
        """Whether nothing is due and nothing under way."""
        return not (self._unacked or self._alone or self._due())

    def pending(self) -> Iterator[str]:
        """Names with something due or under way."""
        yield from self._unacked
        yield from self._alone
        yield from self._due()

    def states(self) -> Iterator[tuple[str, ResourceState, str]]:
        """Every name this Envoy has or is to have, how far it is, and why it was refused."""
        pending = dict.fromkeys(self.pending())
        for name in dict.fromkeys((*self.known, *self.rejected, *pending)):
            if name in pending:
                yield name, ResourceState.PENDING, ""
            elif name in self.rejected:
                yield name, ResourceState.REJECTED, self.rejected[name].reason
            else:
                yield name, ResourceState.ACKED, ""

    def _due(self) -> list[str]:
        forced = [name for name in self._forced if self.wildcard or name in self.names]
        return [*self._dirty, *forced]

    def _drop(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            if name == "*":
                self.wildcard = False
                continue
            self.names.discard(name)
            if self.wildcard:
                continue
            for state in (self.known, self.rejected, self._dirty, self._forced, self._alone, self._unacked):
                state.pop(name, None)
            yield name

    def _flush_upserts(self, present: Mapping[str, Resource], ready: Callable[[Resource], bool]) -> Iterator[Response]:
        def may_go(name: str) -> bool:
            return name not in present or ready(present[name])

        forced = [name for name in self._forced if (self.wildcard or name in self.names) and may_go(name)]
        for name in forced:
            del self._forced[name]
        missing = [name for name in forced if name not in present and name in self.names]
        changed = [name for name in self._dirty if name in present and may_go(name)]
        for name in changed:
            del self._dirty[name]
        due = dict.fromkeys(name for name in forced if name in present)
        due.update(dict.fromkeys(name for name in changed if self.known.get(name) != present[name].version))
        alone = [name for name in self._alone if name in present]
        self._alone.clear()
        names = iter([name for name in due if name not in alone])
        size = len(due) if self.wildcard else MAX_RESOURCES_PER_RESPONSE
        while chunk := list(islice(names, max(1, size))):
            yield self._response([present[name] for name in chunk], [])
        for name in alone:
            yield self._response([present[name]], [])
        if missing:
            yield self._response([], missing)
        elif self._answer_due and not due:
            yield self._response([], [])
        self._answer_due = False

    def _response(self, resources: list[Resource], removed: list[str]) -> Response:
        nonce = self.nonces()
        updated = [r.name for r in resources if self.known.get(r.name, r.version) != r.version]
        for resource in resources:
            self.known[resource.name] = resource.version
        for name in removed:
            self.known.pop(name, None)
        names = (*(resource.name for resource in resources), *removed)
        self._flying[nonce] = names
        for name in names:
            self._unacked[name] = nonce
            self.rejected.pop(name, None)
        return Response(nonce, self.type, tuple(resources), tuple(removed), tuple(updated))

    def _land(self, nonce: str) -> list[str]:
        """The names whose latest answer was ``nonce``; a later one under way supersedes it."""
        names = [name for name in self._flying.pop(nonce, ()) if self._unacked.get(name) == nonce]
        for name in names:
            del self._unacked[name]
        return names
