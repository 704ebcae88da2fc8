"""Endpoints through their use cases, on a real SQLite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import (
    AlreadyExistsError,
    BeingDeletedError,
    EtagMismatchError,
    InvalidArgumentError,
    InvalidTrafficError,
    NotFoundError,
)
from controlplane.domain.operations import Verb
from controlplane.domain.records import Report
from controlplane.domain.specs import AuthMode, DeploymentSpec, EndpointSpec
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from controlplane.usecases.paging import Query
from tests.support.platform import CALLER, CODE, Platform

SERVED = DeploymentSpec(code_asset=CODE.sha256, scoring_script="score.py")


async def with_deployments(platform: Platform, *names: str) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    for name in names:
        await platform.deployments.create("diabetes", name, SERVED, CALLER)


async def succeed(platform: Platform, traffic: dict[str, int] | None = None) -> None:
    record = (await platform.endpoints.get("diabetes")).record
    report = Report(record.generation, ProvisioningState.SUCCEEDED)
    assert await platform.desired.report_endpoint(record.uid, report, traffic)


async def test_a_new_endpoint_waits_to_be_made(platform: Platform) -> None:
    accepted = await platform.endpoints.create("diabetes", EndpointSpec(tags={"team": "a"}), CALLER)
    record = (await platform.endpoints.get("diabetes")).record
    assert (record.generation, record.report) == (1, Report(0, ProvisioningState.CREATING))
    assert record.spec.tags == {"team": "a"}
    assert [key.name for key in record.keys] == ["primary", "secondary"]
    operation = accepted.operation
    assert (operation.target, operation.verb, operation.generation) == ("endpoints/diabetes", Verb.CREATE, 1)
    assert not operation.done
    assert platform.told == [Change(ChangeKind.SPEC, "diabetes")]


async def test_every_mistake_is_named_at_once(platform: Platform) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        await platform.endpoints.create("1x", EndpointSpec(traffic={"blue": 100}, tags={"": "v"}), CALLER)
    assert {v.field for v in refusal.value.violations} == {"endpoint_id", "traffic", "tags"}
    assert platform.told == []


async def test_a_name_is_given_once(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    with pytest.raises(AlreadyExistsError, match="already"):
        await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)


async def test_a_change_makes_a_generation_an_etag_and_an_operation(platform: Platform) -> None:
    await with_deployments(platform, "blue")
    await succeed(platform)
    before = (await platform.endpoints.get("diabetes")).record
    accepted = await platform.endpoints.update("diabetes", lambda s: replace(s, traffic={"blue": 100}), CALLER)
    after = (await platform.endpoints.get("diabetes")).record
    assert after.generation == before.generation + 1 == accepted.operation.generation
    assert after.etag != before.etag
    assert after.report == replace(before.report, state=ProvisioningState.UPDATING)
    assert after.updated > before.updated


async def test_an_operation_ends_with_the_report_of_its_generation(platform: Platform) -> None:
    accepted = await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    await succeed(platform)
    async with platform.store.read() as transaction:
        operation = await transaction.operations.get(accepted.operation.id)
    assert operation is not None
    assert operation.done
    assert operation.error is None


async def test_changing_nothing_is_done_at_once(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(description="d"), CALLER)
    await succeed(platform)
    platform.told.clear()
    before = (await platform.endpoints.get("diabetes")).record
    accepted = await platform.endpoints.update("diabetes", lambda s: replace(s, description="d"), CALLER)
    assert accepted.operation.done
    assert accepted.result is not None
    assert (await platform.endpoints.get("diabetes")).record == before
    assert platform.told == []


async def test_changing_nothing_while_a_change_is_on_its_way_waits_for_it(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    accepted = await platform.endpoints.update("diabetes", lambda s: s, CALLER)
    assert not accepted.operation.done
    await succeed(platform)
    async with platform.store.read() as transaction:
        operation = await transaction.operations.get(accepted.operation.id)
    assert operation is not None
    assert operation.done


async def test_asking_for_the_same_after_a_failure_tries_again(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    record = (await platform.endpoints.get("diabetes")).record
    await platform.desired.report_endpoint(record.uid, Report(1, ProvisioningState.FAILED))
    accepted = await platform.endpoints.update("diabetes", lambda s: s, CALLER)
    assert (accepted.operation.done, accepted.operation.generation) == (False, 2)


async def test_an_old_etag_is_refused(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    etag = (await platform.endpoints.get("diabetes")).record.etag
    await platform.endpoints.update("diabetes", lambda s: replace(s, description="new"), CALLER, etag=etag)
    with pytest.raises(EtagMismatchError):
        await platform.endpoints.update("diabetes", lambda s: replace(s, description="other"), CALLER, etag=etag)
    with pytest.raises(EtagMismatchError):
        await platform.endpoints.delete("diabetes", CALLER, etag=etag)


async def test_the_auth_mode_stays(platform: Platform) -> None:
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    with pytest.raises(InvalidArgumentError, match="auth_mode"):
        await platform.endpoints.update("diabetes", lambda s: replace(s, auth_mode=AuthMode.AML_TOKEN), CALLER)


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ({"blue": 90}, "sum to 100"),
        ({"blue": 90, "grin": 10}, "did you mean 'green'"),
        ({"blue": 150, "green": -50}, "0 to 100"),
    ],
)
async def test_traffic_is_checked_against_the_deployments(
    platform: Platform, traffic: dict[str, int], said: str
) -> None:
    await with_deployments(platform, "blue", "green")
    with pytest.raises(InvalidTrafficError, match=said):
        await platform.endpoints.update("diabetes", lambda s: replace(s, traffic=traffic), CALLER)


async def test_zeros_in_traffic_are_no_change(platform: Platform) -> None:
    await with_deployments(platform, "blue", "green")
    await platform.endpoints.update("diabetes", lambda s: replace(s, traffic={"blue": 100}), CALLER)
    await succeed(platform)
    accepted = await platform.endpoints.update(
        "diabetes", lambda s: replace(s, traffic={"blue": 100, "green": 0}), CALLER
    )
    assert accepted.operation.done


async def test_validating_changes_nothing(platform: Platform) -> None:
    accepted = await platform.endpoints.create("diabetes", EndpointSpec(), CALLER, validate_only=True)
    assert accepted.operation.done
    assert accepted.operation.id == ""
    with pytest.raises(NotFoundError):
        await platform.endpoints.get("diabetes")
    await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    await platform.endpoints.update("diabetes", lambda s: replace(s, description="new"), CALLER, validate_only=True)
    assert (await platform.endpoints.get("diabetes")).record.generation == 1


async def test_deleting_ends_what_waited_and_takes_no_more_changes(platform: Platform) -> None:
    created = await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    deleted = await platform.endpoints.delete("diabetes", CALLER)
    again = await platform.endpoints.delete("diabetes", CALLER)
    assert again.operation == deleted.operation
    record = (await platform.endpoints.get("diabetes")).record
    assert (record.deleting, record.report.state, record.generation) == (True, ProvisioningState.DELETING, 2)
    with pytest.raises(BeingDeletedError):
        await platform.endpoints.update("diabetes", lambda s: s, CALLER)
    with pytest.raises(BeingDeletedError):
        await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    with pytest.raises(BeingDeletedError):
        await platform.deployments.create("diabetes", "blue", SERVED, CALLER)
    async with platform.store.read() as transaction:
        operation = await transaction.operations.get(created.operation.id)
    assert operation is not None
    assert operation.error is not None
    assert "deleted before" in operation.error.message


async def test_lists_go_by_name_in_pages_and_through_filters(platform: Platform) -> None:
    for number in range(5):
        await platform.endpoints.create(f"end{number}", EndpointSpec(tags={"even": str(number % 2 == 0)}), CALLER)
    first = await platform.endpoints.list(Query(page_size=2))
    second = await platform.endpoints.list(Query(page_size=2, page_token=first.next_token))
    third = await platform.endpoints.list(Query(page_size=2, page_token=second.next_token))
    names = [view.record.name for page in (first, second, third) for view in page.items]
    assert names == [f"end{number}" for number in range(5)]
    assert third.next_token == ""
    even = await platform.endpoints.list(Query(filter='tags.even = "True" AND name : "END"', page_size=3))
    assert [view.record.name for view in even.items] == ["end0", "end2", "end4"]
    assert even.next_token == ""
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await platform.endpoints.list(Query(filter="name = other", page_token=first.next_token))


async def test_a_failure_reaches_the_operation_with_the_traceback(platform: Platform) -> None:
    accepted = await platform.endpoints.create("diabetes", EndpointSpec(), CALLER)
    failed = Condition(ConditionType.ROUTE_PROGRAMMED, ConditionStatus.FALSE, "Rejected", "no", "Traceback ...")
    uid = accepted.operation.target_uid
    await platform.desired.report_endpoint(uid, Report(1, ProvisioningState.FAILED, (failed,)))
    async with platform.store.read() as transaction:
        operation = await transaction.operations.get(accepted.operation.id)
    assert operation is not None
    assert operation.error is not None
    assert (operation.error.message, operation.error.detail) == ("no", "Traceback ...")
