"""The loops together: who wakes whom, the resync, and the collection of what nothing owns.

Events say only *that* something changed; each loop reads for itself *what* is. The resync wakes everything now and
then, so that a lost event costs a moment, never correctness.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from controlplane.domain.backoff import Backoff
from controlplane.domain.desired_state import DesiredState
from controlplane.domain.instances import InstanceObservation, InstanceState
from controlplane.domain.ports import Backend, Clock, SigningKeys
from controlplane.domain.records import EndpointTree
from controlplane.domain.status import ProvisioningState
from controlplane.reconcile.deployment import DeploymentKey, DeploymentReconciler, Wakers
from controlplane.reconcile.deployment_report import report_at_start
from controlplane.reconcile.endpoint import EndpointReconciler, desired_traffic
from controlplane.reconcile.owners import InstanceOwners
from controlplane.reconcile.preparations import Preparations
from controlplane.reconcile.queue import WorkQueue
from controlplane.reconcile.routed import RoutedInstances
from controlplane.reconcile.routes import endpoint_route
from controlplane.reconcile.stopping import StoppingInstances
from controlplane.reconcile.token_keys import TokenKeys
from gateway.routes import Router

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How the loops pace themselves; seconds and counts."""

    resync_seconds: float = 30.0
    """Everything is looked at again this often, events or not."""
    drain_grace_seconds: float = 30.0
    """An instance may take this long to finish what it has before it is killed."""
    signing_keys_period_seconds: float = 5.0
    """How often the rotation of the keys that sign tokens is looked after."""
    gateway_retry_seconds: float = 0.5
    """How soon to try again when no gateway answered."""
    concurrency: int = 8
    """Keys one loop handles at the same time."""
    backoff: Backoff = field(default_factory=Backoff)
    """Between tries of what failed for the user's reasons: an `init()` that raises, an index that does not answer."""
    errors_backoff: Backoff = field(default_factory=lambda: Backoff(first=0.2, cap=30.0))
    """Between tries of a handling that failed for ours: a locked database, a defect."""


class PlatformReconciler:
    """Runs every loop. :meth:`start` once, :meth:`close` at the end; what serves goes on serving after that."""

    def __init__(
        self,
        *,
        state: DesiredState,
        backend: Backend,
        router: Router,
        keys: SigningKeys,
        clock: Clock,
        settings: ReconcileSettings,
        random_source: random.Random,
    ) -> None:
        self._state = state
        self._backend = backend
        self._router = router
        self._clock = clock
        self._settings = settings
        self._routed = RoutedInstances()
        self._owners = InstanceOwners()
        self._resync: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._tokens = TokenKeys(
            keys, router, changed=self.look_again, period_seconds=settings.signing_keys_period_seconds
        )
        endpoint = EndpointReconciler(
            state=state,
            backend=backend,
            router=router,
            routed=self._routed,
            tokens=self._tokens,
            clock=clock,
            wake_deployment=lambda name, deployment: self._deployments.add((name, deployment)),
            retry=lambda name: self._endpoints.add_after(name, settings.gateway_retry_seconds),
        )
        self._endpoints = WorkQueue(
            "endpoint",
            endpoint.handle,
            concurrency=settings.concurrency,
            backoff=settings.errors_backoff,
            random_source=random_source,
        )
        self._preparations = Preparations(backend, settings.backoff, random_source)
        self._stopping = StoppingInstances(
            state,
            backend,
            settings.drain_grace_seconds,
            backoff=settings.errors_backoff,
            random_source=random_source,
        )
        deployment = DeploymentReconciler(
            state=state,
            backend=backend,
            routed=self._routed,
            owners=self._owners,
            preparations=self._preparations,
            stopping=self._stopping,
            tokens=self._tokens,
            clock=clock,
            wakers=Wakers(
                deployment=self._wake_deployment,
                deployment_after=self._wake_deployment_after,
                endpoint=self._endpoints.add,
            ),
            backoff=settings.backoff,
            random_source=random_source,
        )
        self._deployments = WorkQueue(
            "deployment",
            deployment.handle,
            concurrency=settings.concurrency,
            backoff=settings.errors_backoff,
            random_source=random_source,
        )
        backend.on_change(self._instance_changed)

    async def preload(self) -> None:
        """Tell the gateway what it should serve, before any Envoy may ask: it must never see an empty answer.

        Users are told what ended while no control plane ran, before any may ask: a report is not to outlive its truth.
        """
        trees = await self._state.endpoints()
        seen = await self._backend.observe()
        await self._report_what_ended(trees, seen)
        await self._tokens.publish(needed=False)
        self._router.preload(
            tuple(
                endpoint_route(tree, desired_traffic(tree, seen).weights, seen)
                for tree in trees
                if not tree.endpoint.deleting
            )
        )

    async def _report_what_ended(self, trees: Sequence[EndpointTree], seen: Mapping[str, InstanceObservation]) -> None:
        reports = [
            (deployment.uid, report_at_start(deployment, ready, self._clock.now()), ready)
            for tree in trees
            for deployment in tree.deployments
            if (ready := _answering(tree, deployment.uid, seen)) < deployment.ready_instances
        ]
        if reports:
            await self._state.report_deployments(reports)

    def start(self) -> None:
        """Begin: look at everything now, and again every resync period."""
        self._resync = asyncio.create_task(self._resync_forever(), name="resync")
        self._tokens.start()

    def wake(self, endpoint: str, deployment: str = "") -> None:
        """The desired state of an endpoint, or of one of its deployments, has changed."""
        self._endpoints.add(endpoint)
        if deployment:
            self._deployments.add((endpoint, deployment))

    def look_again(self) -> None:
        """Look at everything now: a gateway has connected, say, and must be seen to have what it should."""
        self._again.set()

    async def close(self) -> None:
        """Stop deciding. Instances and gateways are left as they are."""
        if self._resync is not None:
            self._resync.cancel()
            await asyncio.gather(self._resync, return_exceptions=True)
        await self._tokens.close()
        await self._endpoints.close()
        await self._deployments.close()
        await self._preparations.close()
        await self._stopping.close()

    async def _resync_forever(self) -> None:
        wake_all = True
        while True:
            try:
                await self._look_at_everything(wake_all=wake_all)
            except Exception:
                log.exception("resync failed, and will be tried again")
            else:
                wake_all = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.resync_seconds):
                    await self._again.wait()
                    wake_all = True
            self._again.clear()

    async def _look_at_everything(self, *, wake_all: bool) -> None:
        # Observed first: what is recorded afterwards can then never be taken for nobody's.
        seen = await self._backend.observe()
        trees = await self._state.endpoints()
        self._owners.replace(instance for tree in trees for instance in tree.instances)
        for instance in seen.keys() - await self._state.instance_ids():
            log.info("ending an instance that nothing owns", instance=instance)
            self._stopping.stop(instance, lambda: None)
        self._preparations.retain(_needed_templates(trees))
        for tree in trees:
            if wake_all or needs_attention(tree, seen, self._routed.get(tree.endpoint.name)):
                self._endpoints.add(tree.endpoint.name)
                for deployment in tree.deployments:
                    self._deployments.add((tree.endpoint.name, deployment.name))

    def _wake_deployment(self, key: DeploymentKey) -> None:
        self._deployments.add(key)

    def _wake_deployment_after(self, key: DeploymentKey, seconds: float) -> None:
        self._deployments.add_after(key, seconds)

    def _instance_changed(self, instance: str) -> None:
        owner = self._owners.of(instance)
        if owner is not None:
            self._deployments.add(owner)
            self._endpoints.add(owner[0])


def needs_attention(tree: EndpointTree, seen: Mapping[str, InstanceObservation], routed: frozenset[str] | None) -> bool:
    """Whether anything of an endpoint is not as wanted. Keeps a resync of thousands of quiet endpoints cheap."""
    reports = [(tree.endpoint.generation, tree.endpoint.report), *((d.generation, d.report) for d in tree.deployments)]
    if any(r.generation != generation or r.state is not ProvisioningState.SUCCEEDED for generation, r in reports):
        return True
    if len(tree.instances) != sum(d.spec.instance_count for d in tree.deployments):
        return True
    ids = frozenset(record.id for record in tree.instances)
    return routed != ids or any(i not in seen or seen[i].state is not InstanceState.READY for i in ids)


def _answering(tree: EndpointTree, deployment_uid: str, seen: Mapping[str, InstanceObservation]) -> int:
    own = (r for r in tree.instances if r.deployment_uid == deployment_uid and not r.draining)
    return sum(r.id in seen and seen[r.id].state is InstanceState.READY for r in own)


def _needed_templates(trees: Sequence[EndpointTree]) -> set[str]:
    templates = (t for tree in trees for d in tree.deployments for t in (d.template, d.fallback) if t is not None)
    return {template.hash for template in templates}
