"""Signing keys: who must know one before it signs, and what happens when somebody does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.domain.specs import AuthMode
from controlplane.domain.status import ConditionStatus, ProvisioningState
from gateway.routes import Refusal
from tests.unit.reconcile.fakes import Platform

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def running() -> AsyncIterator[Platform]:
    """Started within the test: what sleeps since a fixture's time never wakes in the test's."""
    platform = Platform()
    platform.reconciler.start()
    yield platform
    await platform.reconciler.close()


async def create_signed(platform: Platform) -> None:
    platform.state.create_endpoint(auth_mode=AuthMode.AML_TOKEN)
    platform.state.create_deployment("blue")
    platform.reconciler.wake("house", "blue")
    await asyncio.sleep(3)


async def test_gateways_and_instances_know_the_signing_key_before_an_endpoint_is_done(looptime: object) -> None:
    async with running() as platform:
        await create_signed(platform)
        assert [key.kid for key in platform.router.trusts[0].keys] == ["first"]
        policy = platform.backend.policies[-1]
        assert policy.tokens is not None
        assert [key.kid for key in policy.tokens.keys] == ["first"]
        assert platform.state.trees["house"].endpoint.report.state is ProvisioningState.SUCCEEDED


async def test_a_platform_without_tokens_makes_no_signing_key(looptime: object) -> None:
    async with running() as platform:
        platform.state.create_endpoint()
        platform.reconciler.wake("house")
        await asyncio.sleep(20)
        assert (platform.keys.keys, platform.router.trusts) == ((), [])


async def test_a_new_signing_key_is_known_everywhere_before_it_signs(looptime: object) -> None:
    async with running() as platform:
        await create_signed(platform)
        platform.keys.add("second")
        await asyncio.sleep(6)
        assert platform.keys.told == [("second",)]
        assert [key.kid for key in platform.router.trusts[-1].keys] == ["first", "second"]
        policy = platform.backend.policies[-1]
        assert policy.tokens is not None
        assert [key.kid for key in policy.tokens.keys] == ["first", "second"]


async def test_a_signing_key_no_gateway_took_does_not_sign(looptime: object) -> None:
    async with running() as platform:
        await create_signed(platform)
        platform.router.refusal = Refusal.TIMEOUT
        platform.keys.add("second")
        await asyncio.sleep(20)
        assert platform.keys.told == []
        platform.router.refusal = None
        await asyncio.sleep(6)
        assert platform.keys.told == [("second",)]


async def test_an_endpoint_whose_keys_no_gateway_took_is_not_done(looptime: object) -> None:
    async with running() as platform:
        platform.router.refusal = Refusal.REJECTED
        await create_signed(platform)
        (condition,) = platform.state.trees["house"].endpoint.report.conditions
        assert (condition.status, condition.message) == (ConditionStatus.FALSE, "the gateway did not take the keys")


async def test_a_restarted_control_plane_tells_the_keys_before_any_gateway_may_ask(looptime: object) -> None:
    async with running() as platform:
        await create_signed(platform)
        successor = platform.new_reconciler()
        platform.router.trusts.clear()
        await successor.preload()
        assert [key.kid for key in platform.router.trusts[0].keys] == ["first"]
