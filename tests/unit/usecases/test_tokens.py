"""Tokens: issued, refused, revoked; and the keys that sign them, from the first to its end."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, StoreError
from controlplane.domain.signing import MAX_AHEAD_S, PublicKey
from controlplane.domain.specs import AuthMode, EndpointSpec
from controlplane.store.vault import Vault
from controlplane.usecases.es256 import Es256
from controlplane.usecases.signing import SigningKeys
from controlplane.usecases.tokens import TokenUseCases
from tests.support.platform import CALLER, LIFETIME, ROTATION, Platform


@pytest.fixture
async def house(platform: Platform) -> Platform:
    await platform.endpoints.create("house", EndpointSpec(AuthMode.AML_TOKEN), CALLER)
    return platform


def opened(token: str, key: PublicKey) -> dict[str, Any]:
    public = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y})
    return dict(jwt.decode(token, public, algorithms=["ES256"]).claims)


def key_id(token: str) -> str:
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def test_a_token_says_whom_it_opens_what_for_and_until_when(house: Platform) -> None:
    token = await house.tokens.issue("house", CALLER)
    (key,) = await house.signing.turn(needed=False)
    claims = opened(token.text, key.public)
    issued = claims.pop("iat")
    assert claims.pop("nbf") <= issued + 1
    assert claims.pop("exp") == token.expires.timestamp() == issued + LIFETIME.total_seconds()
    assert claims == {"iss": "penstock", "aud": "penstock-scoring", "sub": "tester", "endpoint": "house"}
    assert token.expires - LIFETIME < token.refresh_after < token.expires
    assert key_id(token.text) == key.public.kid


async def test_keys_and_tokens_are_not_mixed(house: Platform) -> None:
    await house.endpoints.create("barn", EndpointSpec(), CALLER)
    for call in (house.tokens.issue, house.tokens.revoke):
        with pytest.raises(InvalidArgumentError, match="takes keys"):
            await call("barn", CALLER)
        with pytest.raises(NotFoundError):
            await call("nowhere", CALLER)
    with pytest.raises(InvalidArgumentError, match="takes tokens"):
        await house.credentials.list("house", CALLER)


async def test_a_revocation_is_a_change_that_no_later_token_meets(house: Platform) -> None:
    (key,) = await house.signing.turn(needed=True)
    before = (await house.endpoints.get("house")).record
    old = opened((await house.tokens.issue("house", CALLER)).text, key.public)
    house.told.clear()
    await house.tokens.revoke("house", CALLER)
    after = (await house.endpoints.get("house")).record
    new = opened((await house.tokens.issue("house", CALLER)).text, key.public)
    assert before.tokens_not_before <= old["iat"] < after.tokens_not_before <= new["iat"]
    assert after.generation == before.generation + 1
    assert house.told == [Change(ChangeKind.SPEC, "house")]


async def test_revocations_cannot_run_ahead_of_the_clock(house: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = house.clock.now()
    monkeypatch.setattr(house.clock, "now", lambda: moment)
    for _ in range(MAX_AHEAD_S):
        await house.tokens.revoke("house", CALLER)
    with pytest.raises(ResourceExhaustedError, match="several times just now"):
        await house.tokens.revoke("house", CALLER)


async def test_a_signing_key_has_a_successor_that_signs_once_it_is_known(house: Platform) -> None:
    first = await house.tokens.issue("house", CALLER)
    house.clock.advance(ROTATION)
    old, new = await house.signing.turn(needed=False)
    assert key_id((await house.tokens.issue("house", CALLER)).text) == key_id(first.text) == old.public.kid
    await house.signing.published([new.public.kid])
    last = await house.tokens.issue("house", CALLER)
    assert key_id(last.text) == old.public.kid  # known for a moment before it signs
    house.clock.advance(timedelta(seconds=10))
    assert key_id((await house.tokens.issue("house", CALLER)).text) == new.public.kid

    house.clock.advance(LIFETIME - timedelta(seconds=10))
    assert len(await house.signing.turn(needed=False)) == 2  # its last token may still be shown
    house.clock.advance(timedelta(minutes=1))
    assert [key.public for key in await house.signing.turn(needed=False)] == [new.public]


async def test_many_calls_at_once_make_one_key(house: Platform) -> None:
    found = await asyncio.gather(*(house.signing.turn(needed=True) for _ in range(5)))
    assert len({key.public.kid for keys in found for key in keys}) == 1


async def test_no_key_is_made_unless_it_is_needed(house: Platform) -> None:
    assert await house.signing.turn(needed=False) == []


async def test_the_private_part_is_sealed(house: Platform, tmp_path: Path) -> None:
    made: list[str] = []

    class Watched(Es256):
        def generate(self, kid: str) -> tuple[PublicKey, str]:
            public, private = super().generate(kid)
            made.append(private)
            return public, private

    await signing(house, tmp_path / "master.key", Watched()).turn(needed=True)
    connection = sqlite3.connect(tmp_path / "penstock.db")
    (sealed,) = connection.execute("SELECT sealed FROM signing_keys").fetchone()
    connection.close()
    raw = base64.urlsafe_b64decode(made[0] + "=")
    assert made[0].encode() not in sealed
    assert raw not in sealed


async def test_a_lost_master_key_is_one_sentence(house: Platform, tmp_path: Path) -> None:
    await house.signing.turn(needed=True)
    lost = TokenUseCases(house.store, house.ledger, signing(house, tmp_path / "another.key", Es256()), LIFETIME)
    with pytest.raises(StoreError, match="is not the master key"):
        await lost.issue("house", CALLER)


def signing(platform: Platform, master: Path, algorithm: Es256) -> SigningKeys:
    return SigningKeys(
        store=platform.store,
        vault=Vault(master),
        randomness=platform.randomness,
        clock=platform.clock,
        algorithm=algorithm,
        rotation=ROTATION,
    )
