"""Whatever is issued, revoked and rotated, in any order: what a client may hold can be checked, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.domain.signing import (
    EXPIRY_MARGIN,
    MAX_AHEAD_S,
    PUBLISH_LEAD,
    PublicKey,
    SigningKey,
    issue_time,
    plan_keys,
    revoked_before,
    signer,
)

ROTATION, LIFETIME = timedelta(minutes=10), timedelta(minutes=3)


@dataclass(frozen=True)
class Token:
    kid: str
    issued: int
    expires: datetime
    revoked: bool


class Tokens(RuleBasedStateMachine):
    """One endpoint, its tokens, and the keys. Time moves by any amount between steps."""

    @initialize()
    def begin(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.number = 1
        self.keys = [SigningKey(PublicKey("0", "x", "y"), self.now, self.now)]
        self.published = {"0"}
        self.not_before = revoked_before(self.now, 0)
        self.tokens: list[Token] = []

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 1500)))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def issue(self) -> None:
        key = signer(self.keys, self.now)
        assert key is not None
        assert key.public.kid in self.published
        issued = issue_time(self.now, self.not_before)
        expires = datetime.fromtimestamp(issued, UTC) + LIFETIME
        if key.last_expiry is None or key.last_expiry < expires:
            self.keys[self.keys.index(key)] = replace(key, last_expiry=expires)
        self.tokens.append(Token(key.public.kid, issued, expires, revoked=False))

    @precondition(lambda self: revoked_before(self.now, self.not_before) <= self.now.timestamp() + MAX_AHEAD_S)
    @rule()
    def revoke(self) -> None:
        self.not_before = revoked_before(self.now, self.not_before)
        self.tokens = [replace(token, revoked=True) for token in self.tokens]

    @rule()
    def turn(self) -> None:
        plan = plan_keys(self.keys, self.now, ROTATION)
        self.keys = [key for key in self.keys if key.public.kid not in plan.remove]
        if plan.create:
            self.keys.append(SigningKey(PublicKey(str(self.number), "x", "y"), self.now))
            self.number += 1

    @rule()
    def publish(self) -> None:
        self.published = {key.public.kid for key in self.keys}
        self.keys = [k if k.signs_from else replace(k, signs_from=self.now + PUBLISH_LEAD) for k in self.keys]

    @invariant()
    def what_a_client_holds_can_be_checked(self) -> None:
        known = {key.public.kid for key in self.keys}
        for token in self.tokens:
            accepted = token.issued >= self.not_before
            assert accepted is not token.revoked
            if not token.revoked and token.expires >= self.now:
                assert token.kid in known

    @invariant()
    def revocations_do_not_run_away(self) -> None:
        assert self.not_before <= self.now.timestamp() + MAX_AHEAD_S

    @invariant()
    def old_keys_go(self) -> None:
        plan = plan_keys(self.keys, self.now, ROTATION)
        left = [key for key in self.keys if key.public.kid not in plan.remove]
        needed = {t.kid for t in self.tokens if t.expires + EXPIRY_MARGIN >= self.now}
        present = signer(self.keys, self.now)
        for key in left:
            waiting = key.signs_from is None or key.signs_from > self.now
            assert waiting or key is present or key.public.kid in needed


TestTokens = Tokens.TestCase
