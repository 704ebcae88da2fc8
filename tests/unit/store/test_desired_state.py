"""What reconcilers may rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.desired_state import DesiredState
from controlplane.domain.instances import InstanceRecord
from controlplane.domain.operations import OperationRecord
from controlplane.domain.records import DeploymentRecord, EndpointRecord, Report
from controlplane.domain.specs import DeploymentSpec, EndpointSpec
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from controlplane.usecases.paging import Query
from tests.support.platform import CALLER, CODE, Platform

SERVED = DeploymentSpec(code_asset=CODE.sha256, scoring_script="score.py")
READY = Condition(ConditionType.INSTANCES_READY, ConditionStatus.TRUE, "Ready")


@pytest.fixture
async def blue(platform: Platform) -> DeploymentRecord:
    await platform.endpoints.create("house", EndpointSpec(), CALLER)
    await platform.deployments.create("house", "blue", SERVED, CALLER)
    platform.told.clear()
    return await platform.deployments.get("house", "blue")


async def house(platform: Platform) -> EndpointRecord:
    return (await platform.endpoints.get("house")).record


def instances(blue: DeploymentRecord, *ids: str) -> list[InstanceRecord]:
    return [InstanceRecord(i, "house", "blue", blue.uid, blue.template.hash, blue.created) for i in ids]


async def operation(platform: Platform, target: str) -> OperationRecord:
    async with platform.store.read() as transaction:
        found = await transaction.operations.page(None, 100)
    return next(o for o in found if o.target == target)


def test_the_port_is_fulfilled(platform: Platform) -> None:
    port: DesiredState = platform.desired
    assert port is platform.desired


async def test_a_tree_holds_everything_of_one_endpoint_and_of_it_alone(
    platform: Platform, blue: DeploymentRecord
) -> None:
    await platform.endpoints.create("garden", EndpointSpec(), CALLER)
    await platform.deployments.create("garden", "blue", SERVED, CALLER)
    await platform.desired.record_instances(blue.uid, instances(blue, "b", "a"))
    tree = await platform.desired.endpoint("house")
    assert tree is not None
    assert tree.endpoint == await house(platform)
    assert tree.deployments == (blue,)
    assert {record.id for record in tree.instances} == {"a", "b"}
    assert [t.endpoint.name for t in await platform.desired.endpoints()] == ["garden", "house"]
    assert (await platform.desired.endpoints())[1] == tree
    assert await platform.desired.endpoint("nobody") is None


@pytest.mark.parametrize("endpoints", [1, 12])
async def test_however_many_there_are_each_table_is_asked_once(platform: Platform, endpoints: int) -> None:
    for number in range(endpoints):
        await platform.endpoints.create(f"end{number}", EndpointSpec(), CALLER)
        for name in ("blue", "green"):
            await platform.deployments.create(f"end{number}", name, SERVED, CALLER)
    asked: list[str] = []
    engine = platform.store._database._engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    await platform.desired.endpoints()
    await platform.desired.endpoint("end0")
    await platform.endpoints.list(Query())
    assert [sql.partition(" ")[0] for sql in asked] == ["BEGIN", *["SELECT"] * 3] * 2 + ["BEGIN", *["SELECT"] * 2]


async def test_a_stale_report_changes_nothing(platform: Platform, blue: DeploymentRecord) -> None:
    await platform.deployments.update("house", "blue", lambda s: replace(s, instance_count=2), CALLER)
    platform.told.clear()
    assert not await platform.desired.report_deployment(blue.uid, Report(1, ProvisioningState.SUCCEEDED), 1)
    assert not await platform.desired.report_deployment("gone", Report(1, ProvisioningState.SUCCEEDED), 1)
    assert not await platform.desired.report_endpoint("gone", Report(1, ProvisioningState.SUCCEEDED))
    assert not (await operation(platform, "endpoints/house/deployments/blue")).done
    assert platform.told == []


async def test_of_many_reports_the_stale_ones_are_left_out(platform: Platform, blue: DeploymentRecord) -> None:
    done = Report(1, ProvisioningState.SUCCEEDED)
    await platform.desired.report_deployments(
        [("gone", done, 1), (blue.uid, done, 2), (blue.uid, replace(done, generation=7), 3)]
    )
    now = await platform.deployments.get("house", "blue")
    assert (now.ready_instances, now.report.state) == (2, ProvisioningState.SUCCEEDED)
    assert (await operation(platform, "endpoints/house/deployments/blue")).done


async def test_the_same_report_is_told_once_and_keeps_its_time(platform: Platform, blue: DeploymentRecord) -> None:
    report = Report(1, ProvisioningState.SUCCEEDED, (READY,))
    for _ in range(3):
        assert await platform.desired.report_deployment(blue.uid, report, 1)
    assert platform.told == [Change(ChangeKind.STATUS, "house", "blue")]
    (stored,) = (await platform.deployments.get("house", "blue")).report.conditions
    assert stored.last_transition is not None
    again = replace(READY, message="another sentence, the same state")
    await platform.desired.report_deployment(blue.uid, replace(report, conditions=(again,)), 1)
    (later,) = (await platform.deployments.get("house", "blue")).report.conditions
    assert later == replace(again, last_transition=stored.last_transition)


async def test_what_last_served_as_wanted_is_remembered(platform: Platform, blue: DeploymentRecord) -> None:
    assert blue.fallback is None
    await platform.desired.report_deployment(blue.uid, Report(1, ProvisioningState.SUCCEEDED), 1)
    await platform.deployments.update("house", "blue", lambda s: replace(s, instance_type="x"), CALLER)
    await platform.desired.report_deployment(blue.uid, Report(2, ProvisioningState.FAILED), 1)
    now = await platform.deployments.get("house", "blue")
    assert now.fallback == blue.template
    assert now.template != blue.template


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"instance_count": 2}, ProvisioningState.SCALING),
        ({"instance_count": 2, "instance_type": "x"}, ProvisioningState.UPDATING),
        ({"description": "x"}, ProvisioningState.UPDATING),
    ],
)
async def test_the_state_says_what_is_on_its_way(
    platform: Platform, blue: DeploymentRecord, change: dict[str, object], state: ProvisioningState
) -> None:
    await platform.deployments.update("house", "blue", lambda s: replace(s, **change), CALLER)
    assert (await platform.deployments.get("house", "blue")).report.state is ProvisioningState.CREATING
    await platform.deployments.update("house", "blue", lambda s: SERVED, CALLER)
    await platform.desired.report_deployment(blue.uid, Report(3, ProvisioningState.SUCCEEDED), 1)
    await platform.deployments.update("house", "blue", lambda s: replace(s, **change), CALLER)
    assert (await platform.deployments.get("house", "blue")).report.state is state


async def test_progress_reaches_who_waits(platform: Platform, blue: DeploymentRecord) -> None:
    target = "endpoints/house/deployments/blue"
    await platform.desired.report_progress(target, "building")
    await platform.desired.report_progress(target, "building")
    assert platform.told == [Change(ChangeKind.STATUS, "house", "blue")]
    assert (await operation(platform, target)).progress == "building"
    await platform.desired.report_deployment(blue.uid, Report(1, ProvisioningState.SUCCEEDED), 1)
    assert (await operation(platform, target)).progress == ""


async def test_instances_are_recorded_drained_and_forgotten(platform: Platform, blue: DeploymentRecord) -> None:
    records = instances(blue, "one", "two")
    assert await platform.desired.record_instances(blue.uid, records)
    assert await platform.desired.record_instances(blue.uid, records)
    await platform.desired.drain_instances(["one"])
    tree = await platform.desired.endpoint("house")
    assert tree is not None
    assert {record.id: record.draining for record in tree.instances} == {"one": True, "two": False}
    await platform.desired.forget_instances(["one", "never-was"])
    assert await platform.desired.instance_ids() == {"two"}
    await platform.desired.drain_instances([])
    await platform.desired.forget_instances([])


async def test_nothing_is_started_for_what_is_going(platform: Platform, blue: DeploymentRecord) -> None:
    await platform.deployments.delete("house", "blue", CALLER)
    assert not await platform.desired.record_instances(blue.uid, instances(blue, "one"))
    assert not await platform.desired.record_instances("gone", instances(blue, "one"))


async def test_nothing_goes_before_what_is_under_it(platform: Platform, blue: DeploymentRecord) -> None:
    desired, uid = platform.desired, (await house(platform)).uid
    await desired.record_instances(blue.uid, instances(blue, "one"))
    await desired.mark_deployments_deleting(uid)
    assert not (await platform.deployments.get("house", "blue")).deleting
    await desired.remove_endpoint(uid)
    await desired.remove_deployment(blue.uid)
    accepted = await platform.endpoints.delete("house", CALLER)
    await desired.mark_deployments_deleting(uid)
    assert (await platform.deployments.get("house", "blue")).report.state is ProvisioningState.DELETING
    created = await operation(platform, "endpoints/house/deployments/blue")
    assert created.error is not None
    await desired.remove_endpoint(uid)
    await desired.remove_deployment(blue.uid)
    assert await desired.endpoint("house") is not None
    await desired.forget_instances(["one"])
    await desired.remove_deployment(blue.uid)
    await desired.remove_endpoint(uid)
    assert await desired.endpoint("house") is None
    assert platform.told[-2:] == [
        Change(ChangeKind.REMOVED, "house", "blue"),
        Change(ChangeKind.REMOVED, "house"),
    ]
    async with platform.store.read() as transaction:
        ended = await transaction.operations.get(accepted.operation.id)
    assert ended is not None
    assert ended.done
    assert ended.error is None


async def test_the_database_itself_keeps_what_is_used(platform: Platform, blue: DeploymentRecord) -> None:
    await platform.desired.record_instances(blue.uid, instances(blue, "one"))
    with pytest.raises(IntegrityError):
        async with platform.store.write() as transaction:
            await transaction.deployments.remove(blue.uid)
    with pytest.raises(IntegrityError):
        async with platform.store.write() as transaction:
            await transaction.endpoints.remove((await house(platform)).uid)


async def test_who_did_what_is_written_down(platform: Platform, blue: DeploymentRecord) -> None:
    await platform.credentials.list("house", CALLER)
    await platform.deployments.delete("house", "blue", CALLER)
    async with platform.store.read() as transaction:
        events = await transaction.audit.newest(10)
    assert [(event.verb, event.target, event.generation) for event in events] == [
        ("delete", "endpoints/house/deployments/blue", 2),
        ("list_keys", "endpoints/house", 0),
        ("create", "endpoints/house/deployments/blue", 1),
        ("create", "endpoints/house", 1),
    ]
    assert {(event.actor, event.request_id) for event in events} == {("tester", "request-1")}


async def test_old_operations_are_forgotten(platform: Platform, blue: DeploymentRecord) -> None:
    await platform.desired.report_deployment(blue.uid, Report(1, ProvisioningState.SUCCEEDED), 1)
    await platform.store.open(platform.clock.now().replace(year=2027))
    async with platform.store.read() as transaction:
        left = await transaction.operations.page(None, 10)
    assert [record.target for record in left] == ["endpoints/house"]
