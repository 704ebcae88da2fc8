"""The loops end to end, against an outside in memory, in virtual time."""

from __future__ import annotations

import asyncio
import errno

import pytest

from controlplane.domain.instances import InstanceState
from controlplane.domain.status import ConditionStatus, ProvisioningState, status_line
from gateway.routes import HostHealth, Refusal
from tests.unit.reconcile.fakes import Platform

pytestmark = pytest.mark.looptime


async def create_blue(platform: Platform, count: int = 1) -> None:
    platform.state.create_endpoint()
    platform.state.create_deployment("blue", count)
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(3)


async def test_a_deployment_comes_up_and_is_routed(platform: Platform) -> None:
    await create_blue(platform, count=2)
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED
    assert len(platform.router.routes["house"].deployments[0].hosts) == 2
    assert platform.state.trees["house"].endpoint.report.state is ProvisioningState.SUCCEEDED


async def test_whoever_waits_is_told_what_for(platform: Platform) -> None:
    platform.backend.build_seconds = 5
    platform.backend.startup = 60
    await create_blue(platform, count=2)
    await asyncio.sleep(120)
    told = [line for target, line in platform.state.progress if target == "endpoints/house/deployments/blue"]
    assert told[:3] == ["preparing the environment", "building", "0 of 2 instances answer"]
    platform.state.progress.clear()
    platform.backend.build_seconds = 0
    platform.backend.broken.add("v2.py")
    platform.state.update_deployment("blue", script="v2.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(600)
    told = [line for target, line in platform.state.progress if target == "endpoints/house/deployments/blue"]
    assert any(line.startswith("init() raised") for line in told), told


async def test_traffic_waits_for_a_deployment_that_does_not_answer_yet(platform: Platform) -> None:
    await create_blue(platform)
    platform.state.set_traffic({"blue": 100})
    platform.reconciler.wake("house")
    await asyncio.sleep(1)
    assert platform.weights == {"blue": 100}

    platform.backend.startup = 10
    platform.state.create_deployment("green")
    platform.state.set_traffic({"green": 100})
    platform.reconciler.wake("house", "green")
    await asyncio.sleep(5)
    assert platform.weights == {"blue": 100}
    await asyncio.sleep(8)
    assert platform.weights == {"green": 100}


async def test_traffic_never_moves_to_a_deployment_that_fails(platform: Platform) -> None:
    await create_blue(platform)
    platform.state.set_traffic({"blue": 100})
    platform.backend.broken.add("bad.py")
    platform.state.create_deployment("green", script="bad.py")
    platform.reconciler.wake("house", "green")
    await asyncio.sleep(1)
    platform.state.set_traffic({"green": 100})
    platform.reconciler.wake("house")
    await asyncio.sleep(60)
    assert platform.weights == {"blue": 100}
    assert platform.state.trees["house"].endpoint.report.state is ProvisioningState.FAILED


async def test_a_crash_loop_backs_off_and_ends_in_failed_with_the_users_words(platform: Platform) -> None:
    platform.backend.broken.add("bad.py")
    platform.state.create_endpoint()
    platform.state.create_deployment("blue", script="bad.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(60)
    report = platform.state.deployment("blue").report
    assert report.state is ProvisioningState.FAILED
    failed = next(c for c in report.conditions if c.status is ConditionStatus.FALSE)
    assert "no weights" in failed.message
    assert failed.detail == "Traceback ..."
    tries = len(platform.backend.started)
    assert 3 <= tries <= 7  # 1, 2, 4, 8, 16, 32 seconds apart
    await asyncio.sleep(3000)
    assert len(platform.backend.started) - tries <= 3000 / 250 + 5


async def fail_then_mend(platform: Platform) -> None:
    platform.backend.broken.add("v1.py")
    platform.state.create_endpoint()
    platform.state.create_deployment("blue")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(600)
    assert platform.state.deployment("blue").report.state is ProvisioningState.FAILED
    platform.backend.broken.clear()


async def states_told_after(platform: Platform, seconds: float) -> set[ProvisioningState]:
    platform.state.reports.clear()
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(seconds)
    return {report.state for name, report in platform.state.reports if name == "blue"}


async def test_asking_again_after_a_failure_tries_again_at_once(platform: Platform) -> None:
    await fail_then_mend(platform)
    platform.state.update_deployment("blue")
    assert ProvisioningState.FAILED not in await states_told_after(platform, 10)
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED


async def test_old_failures_do_not_fail_what_has_recovered(platform: Platform) -> None:
    await fail_then_mend(platform)
    await asyncio.sleep(600)
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED
    (instance,) = platform.backend.seen
    platform.backend.falter(instance)
    assert ProvisioningState.FAILED not in await states_told_after(platform, 10)


async def test_a_deployment_that_cannot_be_built_fails_and_says_why(platform: Platform) -> None:
    platform.backend.unbuildable.add("bad.py")
    platform.state.create_endpoint()
    platform.state.create_deployment("blue", script="bad.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(1)
    report = platform.state.deployment("blue").report
    assert report.state is ProvisioningState.FAILED
    assert any("no version of nosuch" in c.message for c in report.conditions)


async def test_a_failing_update_leaves_what_serves(platform: Platform) -> None:
    await create_blue(platform, count=2)
    before = {h.instance for h in platform.router.routes["house"].deployments[0].hosts}
    platform.backend.broken.add("v2.py")
    platform.state.update_deployment("blue", script="v2.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(120)
    assert platform.state.deployment("blue").report.state is ProvisioningState.FAILED
    hosts = platform.router.routes["house"].deployments[0].hosts
    assert {h.instance for h in hosts if h.health is HostHealth.SERVING} == before
    assert not before & set(platform.backend.stopped)


async def test_what_ends_during_a_failing_update_is_replaced_by_its_like(platform: Platform) -> None:
    await create_blue(platform, count=2)
    old_hash = platform.state.deployment("blue").template.hash
    platform.backend.broken.add("v2.py")
    platform.state.update_deployment("blue", script="v2.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(30)
    victim = platform.router.routes["house"].deployments[0].hosts[0].instance
    platform.backend.kill(victim)
    await asyncio.sleep(120)
    hosts = platform.router.routes["house"].deployments[0].hosts
    assert len(hosts) == 2
    assert {platform.backend.seen[h.instance].template_hash for h in hosts} == {old_hash}


async def test_an_update_never_has_fewer_serving_than_wanted(platform: Platform) -> None:
    await create_blue(platform, count=4)
    start = len(platform.router.history)
    platform.state.update_deployment("blue", script="v2.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(60)
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED
    assert {o.template_hash for o in platform.backend.seen.values()} == {
        platform.state.deployment("blue").template.hash
    }
    serving = [
        sum(h.health is HostHealth.SERVING for h in route.deployments[0].hosts)
        for route in platform.router.history[start:]
    ]
    assert min(serving) >= 4


async def test_an_instance_that_is_killed_is_replaced_at_once(platform: Platform) -> None:
    await create_blue(platform, count=2)
    victim = next(iter(platform.backend.seen))
    platform.backend.kill(victim)
    await asyncio.sleep(2)
    ready = [o for o in platform.backend.seen.values() if o.state is InstanceState.READY]
    assert len(ready) == 2
    assert victim not in platform.backend.seen


async def test_an_instance_that_ended_is_not_launched_again_while_it_is_being_forgotten(platform: Platform) -> None:
    platform.state.latency = 0.5
    await create_blue(platform, count=2)
    victim = next(iter(platform.backend.seen))
    platform.backend.kill(victim)
    await asyncio.sleep(3)
    assert platform.backend.started.count(victim) == 1
    assert len(platform.backend.started) == 3
    assert set(platform.backend.seen) == {i.id for i in platform.state.trees["house"].instances}


async def test_an_instance_is_stopped_only_after_the_gateway_let_it_go(platform: Platform) -> None:
    await create_blue(platform, count=2)
    platform.router.refusal = Refusal.TIMEOUT
    platform.state.update_deployment("blue", count=1)
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(60)
    assert platform.backend.stopped == []
    platform.router.refusal = None
    await asyncio.sleep(5)
    assert len(platform.backend.stopped) == 1
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED


async def test_a_store_that_cannot_forget_is_not_asked_in_a_hot_loop(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_blue(platform, count=2)
    tries = 0

    async def full_disk(_ids: object) -> None:
        nonlocal tries
        tries += 1
        if tries > 100:
            await asyncio.Event().wait()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(platform.state, "forget_instances", full_disk)
        platform.state.update_deployment("blue", count=1)
        platform.reconciler.wake("house", "blue")
        await asyncio.sleep(60)
        assert 3 <= tries <= 12
    await asyncio.sleep(31)
    assert len(platform.state.trees["house"].instances) == 1
    assert platform.state.deployment("blue").report.state is ProvisioningState.SUCCEEDED


async def test_a_rejected_route_is_told_and_nothing_is_lost(platform: Platform) -> None:
    await create_blue(platform)
    platform.state.set_traffic({"blue": 100})
    platform.router.refusal = Refusal.REJECTED
    platform.reconciler.wake("house")
    await asyncio.sleep(1)
    report = platform.state.trees["house"].endpoint.report
    assert report.state is ProvisioningState.FAILED
    assert report.conditions[0].reason == "RejectedByGateway"


async def test_deleting_an_endpoint_leaves_nothing(platform: Platform) -> None:
    await create_blue(platform, count=2)
    platform.state.delete_endpoint()
    platform.reconciler.wake("house")
    await asyncio.sleep(5)
    assert platform.state.trees == {}
    assert platform.backend.seen == {}
    assert platform.router.routes == {}


async def test_deleting_a_deployment_unroutes_it_first(platform: Platform) -> None:
    await create_blue(platform)
    platform.state.create_deployment("green")
    platform.reconciler.wake("house", "green")
    await asyncio.sleep(3)
    platform.state.delete_deployment("green")
    platform.reconciler.wake("house", "green")
    await asyncio.sleep(5)
    assert [d.name for d in platform.router.routes["house"].deployments] == ["blue"]
    assert len(platform.backend.seen) == 1


async def test_a_new_control_plane_adopts_what_runs_and_ends_what_nothing_owns(platform: Platform) -> None:
    await create_blue(platform, count=2)
    await platform.reconciler.close()
    started = list(platform.backend.started)
    await platform.backend.start("stranger", platform.state.deployment("blue").template, None, None)  # type: ignore[arg-type]
    platform.reconciler = platform.new_reconciler()
    await platform.reconciler.preload()
    assert len(platform.router.preloaded[0].deployments[0].hosts) == 2
    platform.reconciler.start()
    await asyncio.sleep(3)
    assert platform.backend.started == [*started, "stranger"]
    assert platform.backend.stopped == ["stranger"]


async def test_what_ended_while_no_control_plane_ran_is_told_before_anybody_may_ask(platform: Platform) -> None:
    await create_blue(platform, count=2)
    await platform.reconciler.close()
    assert platform.state.deployment("blue").ready_instances == 2
    platform.backend.seen.popitem()
    platform.reconciler = platform.new_reconciler()
    await platform.reconciler.preload()
    blue = platform.state.deployment("blue")
    assert (blue.ready_instances, blue.report.state) == (1, ProvisioningState.SUCCEEDED)
    assert status_line(blue.report.state, blue.report.conditions) == "1 of 2 instances answer"
    platform.reconciler.start()
    await asyncio.sleep(5)
    assert platform.state.deployment("blue").ready_instances == 2


async def test_a_lost_event_costs_no_more_than_a_resync(platform: Platform) -> None:
    await create_blue(platform)
    platform.state.update_deployment("blue", count=3)
    await asyncio.sleep(10)
    assert len(platform.backend.seen) == 3


async def test_new_keys_reach_the_instances_before_the_gateway(platform: Platform) -> None:
    await create_blue(platform)
    assert platform.backend.policies[0].keys == (("primary", "bb"),)
    assert platform.router.routes["house"].auth.key_digests == (("primary", "aa"),)


async def test_the_last_instance_that_failed_stays_until_another_takes_its_place(platform: Platform) -> None:
    """Its log is what whoever asks for the cause will read."""
    platform.backend.broken.add("bad.py")
    platform.state.create_endpoint()
    platform.state.create_deployment("blue", script="bad.py")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(60)
    assert platform.state.deployment("blue").report.state is ProvisioningState.FAILED
    (kept,) = platform.backend.seen.values()
    assert kept.state is InstanceState.FAILED

    platform.state.delete_deployment("blue")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(5)
    assert platform.backend.seen == {}
    assert platform.state.trees["house"].deployments == ()
