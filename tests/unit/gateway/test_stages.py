from __future__ import annotations

from gateway.routes import DeploymentRoute, EndpointAuth, EndpointRoute, Host, HostHealth
from gateway.stages import ABSENT, Stage, plan

AUTH = EndpointAuth(key_digests=(("primary", "0" * 64),))


def host(name: str, health: HostHealth = HostHealth.SERVING) -> Host:
    return Host(name, f"unix:///run/{name}.sock", health)


def endpoint(weights: dict[str, int], **hosts: tuple[Host, ...]) -> EndpointRoute:
    deployments = tuple(DeploymentRoute(name, its) for name, its in hosts.items())
    return EndpointRoute("e", AUTH, deployments, tuple(weights.items()))


def names(stage: Stage) -> set[str]:
    return {deployment.name for deployment in stage.backends}


def test_creation_brings_hosts_before_routes() -> None:
    goal = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    first, second = plan(ABSENT, goal)
    assert (first.front, names(first)) == (None, {"blue"})
    assert second == goal


def test_deletion_takes_routes_before_hosts() -> None:
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    first, second = plan(current, ABSENT)
    assert (first.front, names(first)) == (None, {"blue"})
    assert second == ABSENT


def test_a_weight_change_is_one_step() -> None:
    hosts = {"blue": (host("b1"),), "green": (host("g1"),)}
    current = Stage.of(endpoint({"blue": 90, "green": 10}, **hosts))
    goal = Stage.of(endpoint({"blue": 10, "green": 90}, **hosts))
    assert plan(current, goal) == (goal,)


def test_scaling_is_one_step() -> None:
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    goal = Stage.of(endpoint({"blue": 100}, blue=(host("b1"), host("b2"))))
    assert plan(current, goal) == (goal,)


def test_the_same_again_is_no_step() -> None:
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    assert plan(current, current) == ()


def test_replacing_a_deployment_never_leaves_a_gap() -> None:
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    goal = Stage.of(endpoint({"green": 100}, green=(host("g1"),)))
    grow, switch, shrink = plan(current, goal)
    assert (names(grow), grow.front) == ({"blue", "green"}, current.front)
    assert (names(switch), switch.front) == ({"blue", "green"}, goal.front)
    assert shrink == goal


def test_hosts_serve_until_the_traffic_has_left_them() -> None:
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),), green=(host("g1"),)))
    goal = Stage.of(endpoint({"green": 100}, blue=(host("b1", HostHealth.DRAINING),), green=(host("g1"),)))
    switch, shrink = plan(current, goal)
    assert switch.front == goal.front
    assert switch.backends == current.backends
    assert shrink == goal


def test_a_new_address_replaces_the_old_one_at_once() -> None:
    moved = Host("b1", "unix:///run/elsewhere.sock", HostHealth.DRAINING)
    current = Stage.of(endpoint({"blue": 100}, blue=(host("b1"),)))
    goal = Stage.of(endpoint({}, blue=(moved,)))
    assert plan(current, goal)[0].backends[0].hosts == (moved,)
