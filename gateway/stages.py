"""Make-before-break: the order in which one endpoint moves from what it is to what it should be.

Zero failed requests is a property of this order and of waiting for ACKs between its steps. Measured without the waits:
3 failures in 8 additions. A stage is a state that serves correctly by itself, so a control plane may die after any of
them, and its successor plans again from there:

1. what backs the endpoint grows: new clusters, new hosts; nothing that serves is taken away;
2. the front (routes, keys, limits) moves to what it should be;
3. what backs it shrinks to what the front still names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.routes import DeploymentRoute, EndpointAuth, EndpointRoute, Host, HostHealth


@dataclass(frozen=True, slots=True)
class Stage:
    """One state of an endpoint. ``front`` is None while the endpoint is unknown (404)."""

    backends: tuple[DeploymentRoute, ...] = ()
    front: EndpointRoute | None = None

    @classmethod
    def of(cls, route: EndpointRoute) -> Stage:
        """The state that serves ``route``."""
        return cls(route.deployments, _front(route))


ABSENT = Stage()


def plan(current: Stage, goal: Stage) -> tuple[Stage, ...]:
    """The stages from ``current`` (excluded) to ``goal`` (included); empty when they are the same."""
    if current.front == goal.front:
        stages: tuple[Stage, ...] = (goal,)
    else:
        both = _grow(current.backends, goal.backends)
        stages = (Stage(both, current.front), Stage(both, goal.front), goal)
    steps: list[Stage] = []
    for stage in stages:
        if stage != (steps[-1] if steps else current):
            steps.append(stage)
    return tuple(steps)


def retreat(stage: Stage, auth: EndpointAuth) -> tuple[Stage, ...]:
    """Where to go back to when a gateway refused to leave ``stage`` for one with ``auth``: the first that it takes.

    Who may call is never again as it was: a key that was revoked must not open on because something was refused.
    Rather nobody is let in (401); if that is refused too, the endpoint is unknown (404).
    """
    if stage.front is None or stage.front.auth == auth:
        return (stage,)
    fronts = (replace(stage.front, auth=auth), replace(stage.front, auth=EndpointAuth()), None)
    return tuple(Stage(stage.backends, front) for front in fronts)


def _front(route: EndpointRoute) -> EndpointRoute:
    """``route`` without what does not change Envoy's routes: hosts and sizes."""
    stripped = tuple(
        DeploymentRoute(
            deployment.name,
            request_timeout_ms=deployment.request_timeout_ms,
            grpc=deployment.grpc,
            grpc_workers=deployment.grpc_workers,
        )
        for deployment in route.deployments
    )
    return replace(route, deployments=stripped)


def _grow(current: tuple[DeploymentRoute, ...], goal: tuple[DeploymentRoute, ...]) -> tuple[DeploymentRoute, ...]:
    before = {deployment.name: deployment for deployment in current}
    grown = [_grow_one(before[after.name], after) if after.name in before else after for after in goal]
    kept = {deployment.name for deployment in goal}
    return (*grown, *(deployment for deployment in current if deployment.name not in kept))


def _grow_one(current: DeploymentRoute, goal: DeploymentRoute) -> DeploymentRoute:
    return replace(goal, hosts=_grow_hosts(current.hosts, goal.hosts), grpc=current.grpc or goal.grpc)


def _grow_hosts(current: tuple[Host, ...], goal: tuple[Host, ...]) -> tuple[Host, ...]:
    """Every host of both; one that serves now still does: traffic may be about to leave it, but has not yet."""
    before = {host.instance: host for host in current}
    grown = [_grow_host(before.get(host.instance), host) for host in goal]
    kept = {host.instance for host in goal}
    return (*grown, *(host for host in current if host.instance not in kept))


def _grow_host(before: Host | None, after: Host) -> Host:
    if before is None or before.address != after.address or before.health is not HostHealth.SERVING:
        return after
    return replace(after, health=HostHealth.SERVING, grpc_addresses=after.grpc_addresses or before.grpc_addresses)
