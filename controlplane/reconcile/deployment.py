"""The deployment loop: keeps the instances of a deployment as wanted, and says in one sentence why they are not.

What to do is decided by :func:`controlplane.domain.deployment_plan.plan_deployment`; this module gathers what that
needs and carries it out. Long work (building, stopping) runs beside it, so that one handling takes milliseconds.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from controlplane.domain.backoff import Backoff
from controlplane.domain.deployment_plan import DeploymentPlan, InstanceView, Wanted, plan_deployment
from controlplane.domain.desired_state import DesiredState
from controlplane.domain.failures import STABLE, FailureCount
from controlplane.domain.instances import InstanceObservation, InstanceRecord, InstanceTemplate
from controlplane.domain.names import deployment_name
from controlplane.domain.ports import Backend, Clock, Preparation, PreparationError
from controlplane.domain.records import DeploymentRecord, EndpointTree
from controlplane.reconcile.deployment_report import deployment_report, still_to_come
from controlplane.reconcile.owners import InstanceOwners
from controlplane.reconcile.preparations import PreparationProgress, Preparations
from controlplane.reconcile.routed import RoutedInstances
from controlplane.reconcile.routes import auth_policy
from controlplane.reconcile.stopping import StoppingInstances
from controlplane.reconcile.token_keys import TokenKeys

log = structlog.get_logger(__name__)

DeploymentKey = tuple[str, str]
"""(endpoint name, deployment name)."""

_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 12


@dataclass(slots=True)
class Wakers:
    """How the loop asks for attention: its own later, the endpoint loop's now."""

    deployment: Callable[[DeploymentKey], None]
    deployment_after: Callable[[DeploymentKey, float], None]
    endpoint: Callable[[str], None]


@dataclass(slots=True)
class _Memory:
    """What the loop remembers of one deployment; losing it costs a few early retries, nothing more."""

    failures: FailureCount = field(default_factory=FailureCount)
    generation: int = 0
    """The wish that the failures were counted for."""
    progress: str = ""


class DeploymentReconciler:
    """Handles one deployment at a time; see :class:`controlplane.reconcile.queue.WorkQueue`."""

    def __init__(
        self,
        *,
        state: DesiredState,
        backend: Backend,
        routed: RoutedInstances,
        owners: InstanceOwners,
        preparations: Preparations,
        stopping: StoppingInstances,
        tokens: TokenKeys,
        clock: Clock,
        wakers: Wakers,
        backoff: Backoff,
        random_source: random.Random,
    ) -> None:
        self._state = state
        self._backend = backend
        self._routed = routed
        self._owners = owners
        self._preparations = preparations
        self._stopping = stopping
        self._tokens = tokens
        self._clock = clock
        self._wake = wakers
        self._backoff = backoff
        self._random = random_source
        self._memory: dict[str, _Memory] = {}

    async def handle(self, key: DeploymentKey) -> None:
        """Bring one deployment a step nearer to what is wanted, and report."""
        # Noted before the store is read: of one that is forgotten meanwhile the record may still be in what is read,
        # and it would be taken for one that was never launched.
        ending = self._stopping.under_way()
        tree = await self._state.endpoint(key[0])
        deployment = next((d for d in tree.deployments if d.name == key[1]), None) if tree else None
        if tree is None or deployment is None:
            return
        step = await self._gather(key, tree, deployment, ending)
        await self._carry_out(step)
        if deployment.deleting and step.plan.settled and not step.views:
            await self._remove(deployment)
        else:
            await self._report(step)

    async def _gather(
        self, key: DeploymentKey, tree: EndpointTree, deployment: DeploymentRecord, ending: frozenset[str]
    ) -> _Step:
        seen = await self._backend.observe()
        views = tuple(
            InstanceView(record, seen.get(record.id), ending=record.id in ending)
            for record in tree.instances
            if record.deployment_uid == deployment.uid
        )
        now = self._clock.now()
        template_hash = deployment.template.hash
        memory = self._memory.setdefault(deployment.uid, _Memory())
        if memory.generation != deployment.generation:
            # A new wish is tried anew: what failed before it says nothing of it, and its cause may be mended.
            memory.generation, memory.failures = deployment.generation, memory.failures.anew()
        memory.failures = memory.failures.after(template_hash, views, now, self._backoff, self._random)
        progress = None if deployment.deleting else self._prepare(key, deployment, deployment.template)
        wanted = Wanted(
            count=deployment.spec.instance_count,
            template_hash=template_hash,
            prepared=progress is not None and progress.done is not None,
            deleting=deployment.deleting,
            fallback_hash=deployment.fallback.hash if deployment.fallback else "",
        )
        routed = self._routed.get(deployment.endpoint)
        plan = plan_deployment(wanted, views, routed, memory.failures.attempts, now)
        return _Step(key, tree, deployment, views, seen, plan, memory, progress)

    def _prepare(
        self, key: DeploymentKey, deployment: DeploymentRecord, template: InstanceTemplate
    ) -> PreparationProgress:
        asked_by = f"{deployment.uid}/{deployment.generation}"
        return self._preparations.ensure(template, asked_by, lambda: self._wake.deployment(key))

    async def _carry_out(self, step: _Step) -> None:
        plan, deployment = step.plan, step.deployment
        if plan.drain:
            await self._state.drain_instances(plan.drain)
            self._wake.endpoint(deployment.endpoint)
            self._wake.deployment(step.key)
        for instance in plan.stop:
            self._stopping.stop(instance, lambda: self._wake.deployment(step.key))
        for view in step.views:
            if view.id in plan.launch:
                await self._launch(step, view.record)
        await self._grow(step, plan.record, deployment.template)
        if deployment.fallback is not None:
            await self._grow(step, plan.record_fallback, deployment.fallback)
        if plan.settled and step.memory.failures.attempts.failures:
            # Nothing else may happen until the count can start anew.
            self._wake.deployment_after(step.key, STABLE.total_seconds())
        if plan.wake_at is not None:
            self._wake.deployment_after(step.key, (plan.wake_at - self._clock.now()).total_seconds())

    async def _grow(self, step: _Step, count: int, template: InstanceTemplate) -> None:
        if count <= 0:
            return
        now = self._clock.now()
        records = [
            InstanceRecord(
                id="".join(self._random.choices(_ID_ALPHABET, k=_ID_LENGTH)),
                endpoint=step.deployment.endpoint,
                deployment=step.deployment.name,
                deployment_uid=step.deployment.uid,
                template_hash=template.hash,
                created=now,
            )
            for _ in range(count)
        ]
        # Recorded before it is started: whatever runs is either in the store or nobody's, and then collected.
        self._owners.note(records)
        if await self._state.record_instances(step.deployment.uid, records):
            for record in records:
                await self._launch(step, record)

    async def _launch(self, step: _Step, record: InstanceRecord) -> None:
        deployment = step.deployment
        known = [t for t in (deployment.template, deployment.fallback) if t and t.hash == record.template_hash]
        preparation = self._prepared(step, known[0]) if known else None
        if preparation is None:
            return
        policy = await auth_policy(step.tree.endpoint, self._tokens)
        try:
            await self._backend.start(record.id, known[0], preparation, policy)
        except PreparationError as error:
            step.launch_error = error
            self._wake.deployment_after(step.key, self._backoff.delay(3, self._random))

    def _prepared(self, step: _Step, template: InstanceTemplate) -> Preparation | None:
        return self._prepare(step.key, step.deployment, template).done

    async def _report(self, step: _Step) -> None:
        deployment = step.deployment
        ready = sum(view.ready for view in step.views)
        report = deployment_report(
            deployment,
            step.plan,
            step.memory.failures.attempts,
            progress=step.progress,
            launch_error=step.launch_error,
            ready=ready,
            now=self._clock.now(),
        )
        line = "" if step.plan.settled else still_to_come(report)
        if line != step.memory.progress:
            step.memory.progress = line
            if line:
                await self._state.report_progress(deployment_name(deployment.endpoint, deployment.name), line)
        moved = report.state is not deployment.report.state or ready != deployment.ready_instances
        await self._state.report_deployment(deployment.uid, report, ready)
        if moved or _routes_differ(step, self._routed.get(deployment.endpoint)):
            self._wake.endpoint(deployment.endpoint)

    async def _remove(self, deployment: DeploymentRecord) -> None:
        await self._state.remove_deployment(deployment.uid)
        self._memory.pop(deployment.uid, None)
        self._wake.endpoint(deployment.endpoint)


@dataclass(slots=True)
class _Step:
    """One handling of one deployment."""

    key: DeploymentKey
    tree: EndpointTree
    deployment: DeploymentRecord
    views: tuple[InstanceView, ...]
    seen: Mapping[str, InstanceObservation]
    plan: DeploymentPlan
    memory: _Memory
    progress: PreparationProgress | None
    launch_error: PreparationError | None = None


def _routes_differ(step: _Step, routed: frozenset[str] | None) -> bool:
    """Whether the gateway routes to other instances of this deployment than the ones that answer."""
    ready = {view.id for view in step.views if view.ready}
    mine = {view.id for view in step.views}
    return routed is None or (routed & mine) != ready
