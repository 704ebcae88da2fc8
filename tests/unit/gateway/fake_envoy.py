"""An Envoy without sockets: it takes responses as the real one does, and says when what it would serve is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.ads import AdsServer
from gateway.ads_stream import AdsStream, Request
from gateway.snapshot import Resource, ResourceType
from gateway.subscription import Response

CDS, EDS, LDS = ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.LISTENER
SRDS, RDS = ResourceType.SCOPED_ROUTE, ResourceType.ROUTE


class FakeEnvoy:
    """Configuration as accepted, by type and name. It outlives its connections, as the real one's does."""

    def __init__(self, server: AdsServer, *, name: str = "fake") -> None:
        self.name = name
        self.config: dict[ResourceType, dict[str, Resource]] = {kind: {} for kind in ResourceType}
        self.refuse: set[str] = set()
        """Names to answer NACK for."""
        self.refuse_what: Callable[[Resource], bool] = lambda _resource: False
        """Content to answer NACK for."""
        self.mute: set[ResourceType] = set()
        """Types never asked for."""
        self.violations: list[str] = []
        self.sent = 0
        """Resources received in all."""
        self._server = server
        self._stream: AdsStream | None = None
        self._inbox: list[Response] = []
        self._replies: list[Request] = []

    @property
    def stream(self) -> AdsStream:
        assert self._stream is not None
        return self._stream

    def connect(self) -> None:
        """Open a stream and ask for everything, telling what is held already."""
        self._stream = self._server.connect()
        for kind in (kind for kind in (CDS, EDS, LDS, SRDS, RDS) if kind not in self.mute):
            held = {name: resource.version for name, resource in self.config[kind].items()}
            if kind in {EDS, RDS}:
                if wanted := tuple(self._wanted(kind)):
                    self._request(kind, subscribe=wanted, initial=held)
            else:
                self._request(kind, initial=held)

    def disconnect(self) -> None:
        self._server.disconnect(self.stream)
        self._stream = None
        self._inbox.clear()
        self._replies.clear()

    def collect(self) -> bool:
        """Let the server write what is due; returns whether it wrote anything."""
        responses = list(self.stream.flush())
        self._inbox += responses
        return bool(responses)

    def take_one(self) -> bool:
        """Apply one response, and prepare its answer."""
        if not self._inbox:
            return False
        self._apply(self._inbox.pop(0))
        return True

    def reply_one(self) -> bool:
        """Let one prepared answer reach the server."""
        if not self._replies:
            return False
        self.stream.receive(self._replies.pop(0))
        return True

    def settle(self) -> None:
        """Exchange until nothing is due."""
        while self.collect() or self.take_one() or self.reply_one():
            pass

    def routes(self) -> dict[str, Resource]:
        """What answers now: endpoint -> route configuration."""
        scopes = self.config[SRDS].values()
        return {s.name: self.config[RDS][s.refs[0][1]] for s in scopes if s.refs[0][1] in self.config[RDS]}

    def _apply(self, response: Response) -> None:
        names = [resource.name for resource in response.resources]
        bad = self.refuse.intersection(names).union(r.name for r in response.resources if self.refuse_what(r))
        held = self.config[response.type]
        before = {kind: set(self._wanted(kind)) for kind in (EDS, RDS)}
        if not bad:
            self.sent += len(names)
            held.update({resource.name: resource for resource in response.resources})
            for name in response.removed:
                held.pop(name, None)
        # Subscriptions follow what was accepted, and go out before the ACK (rule 4).
        for kind in (EDS, RDS):
            after = set(self._wanted(kind))
            for name in before[kind] - after:
                self.config[kind].pop(name, None)
            if before[kind] != after:
                self._request(kind, subscribe=tuple(sorted(after - before[kind])), drop=tuple(before[kind] - after))
        self._request(response.type, nonce=response.nonce, error=f"refused {sorted(bad)}" if bad else None)
        self._check()

    def _check(self) -> None:
        for endpoint, route in self.routes().items():
            for kind, name in route.refs:
                if name not in self.config[kind]:
                    self.violations.append(f"{endpoint} routes to {name}, which is not there")
                elif name not in self.config[EDS]:
                    self.violations.append(f"{endpoint} routes to {name}, whose hosts never came")

    def _wanted(self, kind: ResourceType) -> Iterator[str]:
        for resource in self.config[CDS if kind is EDS else SRDS].values():
            yield resource.refs[0][1]

    def _request(
        self,
        kind: ResourceType,
        *,
        subscribe: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        initial: dict[str, str] | None = None,
        nonce: str = "",
        error: str | None = None,
    ) -> None:
        self._replies.append(
            Request(
                kind.value,
                subscribe=subscribe,
                unsubscribe=drop,
                initial_versions=initial or {},
                nonce=nonce,
                error=error,
                node_id=self.name,
            )
        )
