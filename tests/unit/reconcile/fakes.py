"""The outside of the reconcilers, in memory: a store, a backend and a gateway that do what tests tell them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controlplane.domain.instances import (
    InstanceFailure,
    InstanceObservation,
    InstanceRecord,
    InstanceState,
    InstanceTemplate,
)
from controlplane.domain.ports import AuthPolicy, LogKind, LogLines, Preparation, PreparationError
from controlplane.domain.records import ClientKey, DeploymentRecord, EndpointRecord, EndpointTree, Report
from controlplane.domain.signing import PublicKey, SigningKey
from controlplane.domain.specs import AuthMode, DeploymentSpec, EndpointSpec
from controlplane.domain.status import ProvisioningState
from controlplane.reconcile.platform import PlatformReconciler, ReconcileSettings
from gateway.routes import EndpointRoute, GatewayStatus, Refusal, RouteRefusedError, TokenTrust

START = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """Follows the event loop's time, which looptime makes virtual."""

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class MemoryState:
    """The store, with the store's rules: what reconcilers may rely on."""

    def __init__(self) -> None:
        self.trees: dict[str, EndpointTree] = {}
        self.progress: list[tuple[str, str]] = []
        self.reports: list[tuple[str, Report]] = []
        self.latency = 0.0
        """Seconds that forgetting instances takes."""

    def create_endpoint(
        self, name: str = "house", traffic: Mapping[str, int] | None = None, auth_mode: AuthMode = AuthMode.KEY
    ) -> None:
        record = EndpointRecord(
            name=name,
            uid=f"uid-{name}",
            etag="1",
            generation=1,
            spec=EndpointSpec(auth_mode, traffic=traffic or {}),
            report=Report(0, ProvisioningState.CREATING),
            created=START,
            updated=START,
            salt="00",
            keys=(ClientKey("primary", "aa", "bb"),) if auth_mode is AuthMode.KEY else (),
        )
        self.trees[name] = EndpointTree(record)

    def create_deployment(self, name: str, count: int = 1, endpoint: str = "house", script: str = "v1.py") -> None:
        record = DeploymentRecord(
            endpoint=endpoint,
            name=name,
            uid=f"uid-{endpoint}-{name}",
            etag="1",
            generation=1,
            spec=DeploymentSpec(instance_count=count, scoring_script=script),
            template=InstanceTemplate(endpoint, name, scoring_script=script),
            report=Report(0, ProvisioningState.CREATING),
            created=START,
            updated=START,
        )
        tree = self.trees[endpoint]
        self.trees[endpoint] = replace(tree, deployments=(*tree.deployments, record))

    def set_traffic(self, traffic: Mapping[str, int], endpoint: str = "house") -> None:
        self._change_endpoint(endpoint, lambda e: replace(e, spec=replace(e.spec, traffic=traffic)))

    def update_deployment(
        self, name: str, *, count: int | None = None, script: str | None = None, endpoint: str = "house"
    ) -> None:
        def change(d: DeploymentRecord) -> DeploymentRecord:
            spec = replace(d.spec, instance_count=d.spec.instance_count if count is None else count)
            template = d.template if script is None else replace(d.template, scoring_script=script)
            report = replace(d.report, state=ProvisioningState.UPDATING)
            return replace(d, spec=spec, template=template, generation=d.generation + 1, report=report)

        self._change_deployment(f"uid-{endpoint}-{name}", change)

    def delete_deployment(self, name: str, endpoint: str = "house") -> None:
        self._change_deployment(
            f"uid-{endpoint}-{name}", lambda d: replace(d, deleting=True, generation=d.generation + 1)
        )

    def delete_endpoint(self, name: str = "house") -> None:
        self._change_endpoint(name, lambda e: replace(e, deleting=True))

    def deployment(self, name: str, endpoint: str = "house") -> DeploymentRecord:
        return next(d for d in self.trees[endpoint].deployments if d.name == name)

    # What follows is the port.

    async def endpoints(self) -> Sequence[EndpointTree]:
        await asyncio.sleep(0)
        return list(self.trees.values())

    async def endpoint(self, name: str) -> EndpointTree | None:
        await asyncio.sleep(0)
        return self.trees.get(name)

    async def instance_ids(self) -> frozenset[str]:
        return frozenset(i.id for tree in self.trees.values() for i in tree.instances)

    async def report_endpoint(
        self, uid: str, report: Report, effective_traffic: Mapping[str, int] | None = None
    ) -> bool:
        for name, tree in self.trees.items():
            if tree.endpoint.uid == uid and report.generation >= tree.endpoint.generation:
                self.reports.append((name, report))
                effective = tree.endpoint.effective_traffic if effective_traffic is None else effective_traffic
                endpoint = replace(tree.endpoint, report=report, effective_traffic=dict(effective))
                self.trees[name] = replace(tree, endpoint=endpoint)
                return True
        return False

    async def report_deployment(self, uid: str, report: Report, ready_instances: int) -> bool:
        def change(d: DeploymentRecord) -> DeploymentRecord:
            fallback = d.template if report.state is ProvisioningState.SUCCEEDED else d.fallback
            return replace(d, report=report, ready_instances=ready_instances, fallback=fallback)

        found = self._find(uid)
        if found is None or found.generation > report.generation:
            return False
        self.reports.append((found.name, report))
        self._change_deployment(uid, change)
        return True

    async def report_deployments(self, reports: Sequence[tuple[str, Report, int]]) -> None:
        for uid, report, ready in reports:
            await self.report_deployment(uid, report, ready)

    async def report_progress(self, target: str, message: str) -> None:
        self.progress.append((target, message))

    async def record_instances(self, deployment_uid: str, instances: Sequence[InstanceRecord]) -> bool:
        found = self._find(deployment_uid)
        if found is None or found.deleting:
            return False
        tree = self.trees[found.endpoint]
        self.trees[found.endpoint] = replace(tree, instances=(*tree.instances, *instances))
        return True

    async def drain_instances(self, ids: Sequence[str]) -> None:
        for name, tree in self.trees.items():
            marked = tuple(replace(i, draining=True) if i.id in ids else i for i in tree.instances)
            self.trees[name] = replace(tree, instances=marked)

    async def forget_instances(self, ids: Sequence[str]) -> None:
        await asyncio.sleep(self.latency)
        for name, tree in self.trees.items():
            self.trees[name] = replace(tree, instances=tuple(i for i in tree.instances if i.id not in ids))

    async def mark_deployments_deleting(self, endpoint_uid: str) -> None:
        for name, tree in self.trees.items():
            if tree.endpoint.uid == endpoint_uid:
                marked = tuple(replace(d, deleting=True) for d in tree.deployments)
                self.trees[name] = replace(tree, deployments=marked)

    async def remove_deployment(self, uid: str) -> None:
        for name, tree in self.trees.items():
            kept = tuple(d for d in tree.deployments if d.uid != uid)
            assert not [i for i in tree.instances if i.deployment_uid == uid], "removed with instances left"
            self.trees[name] = replace(tree, deployments=kept)

    async def remove_endpoint(self, uid: str) -> None:
        for name, tree in list(self.trees.items()):
            if tree.endpoint.uid == uid:
                assert not tree.deployments, "removed with deployments left"
                del self.trees[name]

    def _find(self, uid: str) -> DeploymentRecord | None:
        return next((d for tree in self.trees.values() for d in tree.deployments if d.uid == uid), None)

    def _change_endpoint(self, name: str, change: Callable[[EndpointRecord], EndpointRecord]) -> None:
        tree = self.trees[name]
        self.trees[name] = replace(
            tree, endpoint=replace(change(tree.endpoint), generation=tree.endpoint.generation + 1)
        )

    def _change_deployment(self, uid: str, change: Callable[[DeploymentRecord], DeploymentRecord]) -> None:
        for name, tree in self.trees.items():
            changed = tuple(change(d) if d.uid == uid else d for d in tree.deployments)
            self.trees[name] = replace(tree, deployments=changed)


class MemoryBackend:
    """Instances that come up after ``startup`` seconds, unless their script is in ``broken``."""

    def __init__(self, startup: float = 1.0) -> None:
        self.startup = startup
        self.build_seconds = 0.0
        self.broken: set[str] = set()
        self.unbuildable: set[str] = set()
        self.seen: dict[str, InstanceObservation] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.policies: list[AuthPolicy] = []
        self._listeners: list[Callable[[str], None]] = []

    def check(self, template: InstanceTemplate) -> None:
        pass

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        progress("building")
        await asyncio.sleep(self.build_seconds)
        if template.scoring_script in self.unbuildable:
            raise PreparationError("EnvironmentBuildFailed", "no version of nosuch is available")
        return Preparation("ready")

    async def start(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> None:
        if instance in self.seen:
            return
        self.started.append(instance)
        self._see(InstanceObservation(instance, InstanceState.STARTING, template.hash))
        asyncio.get_running_loop().call_later(self.startup, self._come_up, instance, template)

    async def stop(self, instance: str, grace_seconds: float) -> None:
        await asyncio.sleep(0.1)
        if self.seen.pop(instance, None) is not None:
            self.stopped.append(instance)
            self._tell(instance)

    async def observe(self) -> Mapping[str, InstanceObservation]:
        return dict(self.seen)

    async def apply_policy(self, policy: AuthPolicy) -> None:
        self.policies.append(policy)

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    async def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        for instance in instances:
            yield LogLines(instance, ())

    async def close(self) -> None:
        pass

    def kill(self, instance: str) -> None:
        now = LoopClock().now()
        failure = InstanceFailure("Killed", "instance was killed by signal 9 (SIGKILL)")
        self._see(replace(self.seen[instance], state=InstanceState.FAILED, failure=failure, ended=now))

    def falter(self, instance: str) -> None:
        """It runs, and does not answer its probes any more."""
        self._see(replace(self.seen[instance], state=InstanceState.UNREADY, ready_since=None))

    def _come_up(self, instance: str, template: InstanceTemplate) -> None:
        seen = self.seen.get(instance)
        if seen is None or seen.state is not InstanceState.STARTING:
            return
        now = LoopClock().now()
        if template.scoring_script in self.broken:
            failure = InstanceFailure("InitFailed", "init() raised ValueError: no weights", "Traceback ...")
            self._see(replace(seen, state=InstanceState.FAILED, failure=failure, ended=now))
        else:
            address = f"unix:///run/{instance}.sock"
            self._see(replace(seen, state=InstanceState.READY, address=address, ready_since=now))

    def _see(self, observation: InstanceObservation) -> None:
        self.seen[observation.id] = observation
        self._tell(observation.id)

    def _tell(self, instance: str) -> None:
        for listener in self._listeners:
            listener(instance)


class MemoryRouter:
    """A gateway that acknowledges after ``latency`` seconds, or refuses for ``refusal``."""

    def __init__(self, latency: float = 0.01) -> None:
        self.latency = latency
        self.refusal: Refusal | None = None
        self.routes: dict[str, EndpointRoute] = {}
        self.history: list[EndpointRoute] = []
        self.preloaded: tuple[EndpointRoute, ...] = ()
        self.trusts: list[TokenTrust] = []

    def preload(self, routes: tuple[EndpointRoute, ...]) -> None:
        self.preloaded = routes
        self.routes.update((route.name, route) for route in routes)

    async def apply(self, route: EndpointRoute) -> None:
        await asyncio.sleep(self.latency)
        if self.refusal is not None:
            raise RouteRefusedError(route.name, self.refusal, "the gateway did not take the route")
        self.routes[route.name] = route
        self.history.append(route)

    async def remove(self, endpoint: str) -> None:
        await asyncio.sleep(self.latency)
        if self.refusal is not None:
            raise RouteRefusedError(endpoint, self.refusal)
        self.routes.pop(endpoint, None)

    async def set_jwks(self, trust: TokenTrust) -> None:
        await asyncio.sleep(self.latency)
        if self.refusal is not None:
            raise RouteRefusedError("", self.refusal, "the gateway did not take the keys")
        self.trusts.append(trust)

    def status(self) -> GatewayStatus:
        return GatewayStatus(1, len(self.routes))


class MemoryKeys:
    """Signing keys without signatures."""

    def __init__(self) -> None:
        self.keys: tuple[SigningKey, ...] = ()
        self.told: list[tuple[str, ...]] = []

    def add(self, kid: str, signs_from: datetime | None = None) -> None:
        self.keys = (*self.keys, SigningKey(PublicKey(kid, "x", "y"), START, signs_from))

    async def turn(self, *, needed: bool) -> Sequence[SigningKey]:
        await asyncio.sleep(0)
        if needed and not self.keys:
            self.add("first", START)
        return self.keys

    async def published(self, kids: Sequence[str]) -> None:
        self.told.append(tuple(kids))
        begun = {kid: replace(k, signs_from=LoopClock().now()) for k in self.keys if (kid := k.public.kid) in kids}
        self.keys = tuple(begun.get(key.public.kid, key) for key in self.keys)


class Platform:
    """The reconcilers between an in-memory store, backend and gateway."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.backend = MemoryBackend()
        self.router = MemoryRouter()
        self.keys = MemoryKeys()
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> PlatformReconciler:
        return PlatformReconciler(
            state=self.state,
            backend=self.backend,
            router=self.router,
            keys=self.keys,
            clock=LoopClock(),
            settings=ReconcileSettings(resync_seconds=5.0),
            random_source=random.Random(7),
        )

    @property
    def weights(self) -> dict[str, int]:
        return dict(self.router.routes["house"].weights)
