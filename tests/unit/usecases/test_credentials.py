"""Keys: two, replaced apart, with digests that fit them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from controlplane.domain.errors import InvalidArgumentError, StoreError
from controlplane.domain.specs import EndpointSpec
from controlplane.store.vault import Vault
from controlplane.usecases.credentials import CredentialUseCases
from controlplane.usecases.keys import KeyName, KeyRing
from tests.support.platform import CALLER, Platform


@pytest.fixture
async def house(platform: Platform) -> Platform:
    await platform.endpoints.create("house", EndpointSpec(), CALLER)
    return platform


async def test_the_digests_are_those_of_the_keys(house: Platform) -> None:
    keys = await house.credentials.regenerate("house", KeyName.SECONDARY, "a-key-of-my-own!", CALLER)
    record = (await house.endpoints.get("house")).record
    assert keys.secondary == "a-key-of-my-own!"
    for stored, key in zip(record.keys, (keys.primary, keys.secondary), strict=True):
        assert stored.digest == hashlib.sha256(key.encode()).hexdigest()
        assert stored.salted_digest == hashlib.sha256(bytes.fromhex(record.salt) + key.encode()).hexdigest()


async def test_replacing_a_key_is_a_change(house: Platform) -> None:
    before = (await house.endpoints.get("house")).record
    await house.credentials.regenerate("house", KeyName.PRIMARY, "", CALLER)
    after = (await house.endpoints.get("house")).record
    assert after.generation == before.generation + 1
    assert after.keys[0] != before.keys[0]
    assert after.keys[1] == before.keys[1]


@pytest.mark.parametrize(
    "value",
    ["short", "x" * 257, "with a space in it", "ключ-не-ascii-символы", "tab\tinside-of-it", "with,a,comma,in,it"],
)
async def test_a_key_that_could_not_be_sent_is_refused(house: Platform, value: str) -> None:
    with pytest.raises(InvalidArgumentError, match="printable ASCII"):
        await house.credentials.regenerate("house", KeyName.PRIMARY, value, CALLER)


async def test_both_keys_cannot_be_the_same(house: Platform) -> None:
    keys = await house.credentials.list("house", CALLER)
    with pytest.raises(InvalidArgumentError, match="the other key"):
        await house.credentials.regenerate("house", KeyName.PRIMARY, keys.secondary, CALLER)


async def test_a_lost_master_key_is_survived_by_replacing_both(house: Platform, tmp_path: Path) -> None:
    lost = CredentialUseCases(house.store, house.ledger, KeyRing(Vault(tmp_path / "another.key"), house.randomness))
    with pytest.raises(StoreError, match="not the master key"):
        await lost.list("house", CALLER)
    with pytest.raises(StoreError, match="secondary key cannot be decrypted"):
        await lost.regenerate("house", KeyName.PRIMARY, "", CALLER)
    keys = await lost.regenerate("house", KeyName.SECONDARY, "", CALLER)
    assert await lost.list("house", CALLER) == keys
