"""The endpoint loop: keeps what the gateway serves equal to what the store says.

It reports an endpoint as done only when every gateway has acknowledged, and moves traffic to a deployment only once
that answers (:mod:`controlplane.domain.routed_traffic`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.domain.desired_state import DesiredState
from controlplane.domain.instances import InstanceObservation, InstanceState
from controlplane.domain.ports import AuthPolicy, Backend, Clock
from controlplane.domain.records import EndpointRecord, EndpointTree, Report
from controlplane.domain.routed_traffic import RoutedTraffic, routed_traffic
from controlplane.domain.specs import AuthMode
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from controlplane.reconcile.routed import RoutedInstances
from controlplane.reconcile.routes import auth_policy, endpoint_route, serving_instances
from controlplane.reconcile.token_keys import TokenKeys
from gateway.routes import EndpointRoute, Refusal, Router, RouteRefusedError

_UNANSWERED = (Refusal.ABSENT, Refusal.TIMEOUT)


class EndpointReconciler:
    """Handles one endpoint name at a time; see :class:`controlplane.reconcile.queue.WorkQueue`."""

    def __init__(
        self,
        *,
        state: DesiredState,
        backend: Backend,
        router: Router,
        routed: RoutedInstances,
        tokens: TokenKeys,
        clock: Clock,
        wake_deployment: Callable[[str, str], None],
        retry: Callable[[str], None],
    ) -> None:
        self._state = state
        self._backend = backend
        self._router = router
        self._routed = routed
        self._tokens = tokens
        self._clock = clock
        self._wake_deployment = wake_deployment
        self._retry = retry
        self._policies: dict[str, AuthPolicy] = {}

    async def handle(self, name: str) -> None:
        """Make one endpoint's routes what they should be, and report."""
        tree = await self._state.endpoint(name)
        if tree is None:
            await self._forget(name)
        elif tree.endpoint.deleting:
            await self._delete(tree)
        else:
            await self._route(tree)

    async def _forget(self, name: str) -> None:
        try:
            await self._router.remove(name)
        except RouteRefusedError as refused:
            if refused.reason not in _UNANSWERED:
                raise
            self._retry(name)
            return
        self._routed.forget(name)
        self._policies.pop(name, None)

    async def _delete(self, tree: EndpointTree) -> None:
        endpoint = tree.endpoint
        try:
            await self._router.remove(endpoint.name)
        except RouteRefusedError as refused:
            await self._report_refused(endpoint, ProvisioningState.DELETING, refused)
            self._retry(endpoint.name)
            return
        self._routed.acknowledge(endpoint.name, frozenset())
        await self._state.mark_deployments_deleting(endpoint.uid)
        for deployment in tree.deployments:
            self._wake_deployment(endpoint.name, deployment.name)
        if not tree.deployments:
            await self._state.remove_endpoint(endpoint.uid)
            self._routed.forget(endpoint.name)
            self._policies.pop(endpoint.name, None)

    async def _route(self, tree: EndpointTree) -> None:
        endpoint = tree.endpoint
        if endpoint.spec.auth_mode is AuthMode.AML_TOKEN:
            try:
                await self._tokens.publish()
            except RouteRefusedError as refused:
                await self._refused(endpoint, refused)
                return
        # The instances learn of a new key before the gateway lets it through, so that it never fails half-way.
        policy = await auth_policy(endpoint, self._tokens)
        if self._policies.get(endpoint.name) != policy:
            await self._backend.apply_policy(policy)
            self._policies[endpoint.name] = policy
        seen = await self._backend.observe()
        traffic = desired_traffic(tree, seen)
        route = endpoint_route(tree, traffic.weights, seen)
        try:
            await self._router.apply(route)
        except RouteRefusedError as refused:
            await self._refused(endpoint, refused)
            return
        self._acknowledged(tree, route)
        state, condition = _outcome(tree, traffic)
        await self._report(endpoint, state, condition, traffic.weights)

    def _acknowledged(self, tree: EndpointTree, route: EndpointRoute) -> None:
        if self._routed.acknowledge(tree.endpoint.name, serving_instances(route)):
            for deployment in tree.deployments:
                self._wake_deployment(tree.endpoint.name, deployment.name)

    async def _refused(self, endpoint: EndpointRecord, refused: RouteRefusedError) -> None:
        if refused.reason in _UNANSWERED:
            await self._report_refused(endpoint, _unsettled(endpoint), refused)
            self._retry(endpoint.name)
        else:
            await self._report_refused(endpoint, ProvisioningState.FAILED, refused)

    async def _report_refused(
        self, endpoint: EndpointRecord, state: ProvisioningState, refused: RouteRefusedError
    ) -> None:
        status = ConditionStatus.UNKNOWN if refused.reason in _UNANSWERED else ConditionStatus.FALSE
        await self._report(
            endpoint, state, Condition(ConditionType.ROUTE_PROGRAMMED, status, refused.reason.value, str(refused))
        )

    async def _report(
        self,
        endpoint: EndpointRecord,
        state: ProvisioningState,
        condition: Condition,
        effective: Mapping[str, int] | None = None,
    ) -> None:
        dated = condition.since(endpoint.report.conditions, self._clock.now())
        await self._state.report_endpoint(endpoint.uid, Report(endpoint.generation, state, (dated,)), effective)


def desired_traffic(tree: EndpointTree, seen: Mapping[str, InstanceObservation]) -> RoutedTraffic:
    """The weights an endpoint's state asks for now."""
    present = {d.uid: d.name for d in tree.deployments if not d.deleting}
    answering = {
        present[record.deployment_uid]
        for record in tree.instances
        if record.deployment_uid in present
        and not record.draining
        and (observation := seen.get(record.id)) is not None
        and observation.state is InstanceState.READY
    }
    spec = tree.endpoint.spec
    return routed_traffic(spec.traffic, tree.endpoint.effective_traffic, answering, present.values())


def _outcome(tree: EndpointTree, traffic: RoutedTraffic) -> tuple[ProvisioningState, Condition]:
    if not traffic.waiting_for:
        return ProvisioningState.SUCCEEDED, Condition(
            ConditionType.ROUTE_PROGRAMMED, ConditionStatus.TRUE, "Acknowledged"
        )
    names = ", ".join(traffic.waiting_for)
    broken = [
        d
        for d in tree.deployments
        if d.name in traffic.waiting_for
        and d.report.generation == d.generation
        and d.report.state is ProvisioningState.FAILED
    ]
    if broken:
        return ProvisioningState.FAILED, Condition(
            ConditionType.ROUTE_PROGRAMMED,
            ConditionStatus.FALSE,
            "DeploymentFailed",
            f"the traffic stays as it was, because deployment '{broken[0].name}' does not answer: "
            f"see its own status for the cause",
        )
    return _unsettled(tree.endpoint), Condition(
        ConditionType.ROUTE_PROGRAMMED,
        ConditionStatus.UNKNOWN,
        "WaitingForDeployment",
        f"the traffic stays as it was until {names} can answer",
    )


def _unsettled(endpoint: EndpointRecord) -> ProvisioningState:
    """The state of a change that is still on its way: what it was set to when the change was accepted."""
    return endpoint.report.state
