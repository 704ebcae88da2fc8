"""Tokens: what gets in, what does not, how soon a change counts. Minted with joserfc, an implementation not ours."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from penstock_scorer.auth import tokens
from penstock_scorer.auth.errors import PolicyError
from penstock_scorer.auth.guard import Guard
from penstock_scorer.auth.policy import parse

NOW = 1_800_000_000
OLD = ECKey.generate_key("P-256", {"kid": "old"})
NEW = OKPKey.generate_key("Ed25519", {"kid": "new"})
STRANGER = ECKey.generate_key("P-256", {"kid": "old"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
CLAIMS = {"aud": "penstock", "endpoint": "ep", "iss": "cp", "sub": "ada", "iat": NOW - 10, "exp": NOW + 60}


def public(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def policy_text(*keys: Any, not_before: int = 0, issuer: str | None = "cp") -> str:
    whose = {"version": 1, "mode": "aml_token", "audience": "penstock", "endpoint": "ep", "issuer": issuer}
    return json.dumps({**whose, "not_before": not_before, "jwks": public(*(keys or (OLD, NEW, P384, RSA)))})


def policy(now: float = NOW, **changes: Any) -> Any:
    return parse(policy_text(**changes), lambda: now)


def mint(key: Any = OLD, algorithm: str = "ES256", header: Any = None, **claims: Any) -> str:
    content = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    head = {"alg": algorithm, "kid": key.kid, **(header or {})}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EdDSA has a newer name (RFC 9864), HS256 a key that is no secret
        return jwt.encode(head, content, key, registry=registry)


def raw(header: Any, claims: Any = CLAIMS, signature: bytes = b"\0" * 64) -> str:
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


@pytest.mark.parametrize(
    ("token", "client"),
    [
        (mint(), "ada"),
        (mint(NEW, "EdDSA"), "ada"),
        (mint(NEW, "Ed25519"), "ada"),
        (mint(aud=["other", "penstock"]), "ada"),
        (mint(sub=...), "token"),
        (mint(nbf=NOW), "ada"),
        (mint(iat=NOW + 4), "ada"),
        (mint(header={"typ": "JWT"}), "ada"),
    ],
)
def test_tokens_that_are_good(token: str, client: str) -> None:
    assert policy().verify(token) == client


SIGNED = mint().split(".")
HOSTILE = {
    "nothing": "",
    "dots": "..",
    "four parts": mint() + ".x",
    "two parts": mint().rpartition(".")[0],
    "no signature": mint().rpartition(".")[0] + ".",
    "alg none": raw({"alg": "none", "kid": "old"}, signature=b""),
    "alg none, signed": raw({"alg": "none", "kid": "old"}),
    "alg None in another case": raw({"alg": "nOnE", "kid": "old"}, signature=b""),
    "no alg": raw({"kid": "old"}),
    "alg a list": raw({"alg": ["ES256"], "kid": "old"}),
    "HS256 with the public key as the secret": mint(
        OctKey.import_key(json.dumps(OLD.as_dict(private=False)), {"kid": "old"}), "HS256"
    ),
    "RS256, its key in the set": mint(RSA, "RS256"),
    "ES384, its key in the set": mint(P384, "ES384"),
    "EdDSA claimed for an EC key": raw({"alg": "EdDSA", "kid": "old"}),
    "ES256 claimed for an Ed25519 key": mint(STRANGER, "ES256", {"kid": "new"}),
    "signed by a stranger": mint(STRANGER),
    "unknown key": mint(ECKey.generate_key("P-256", {"kid": "x"})),
    "no kid": raw({"alg": "ES256"}),
    "kid a number": raw({"alg": "ES256", "kid": 1}),
    "kid a path": raw({"alg": "ES256", "kid": "../../dev/null"}),
    "key in the header": mint(STRANGER, "ES256", {"jwk": STRANGER.as_dict(private=False)}),
    "key by address": mint(STRANGER, "ES256", {"jku": "http://127.0.0.1/keys"}),
    "critical extension": raw({"alg": "ES256", "kid": "old", "crit": ["exp"]}),
    "signature all zero": raw({"alg": "ES256", "kid": "old"}),
    "signature too long": raw({"alg": "ES256", "kid": "old"}, signature=b"\1" * 72),
    "signature changed": mint()[:-4] + ("AAAA" if mint()[-4:] != "AAAA" else "BBBB"),
    "claims changed": ".".join([SIGNED[0], raw({}, {**CLAIMS, "sub": "root"}).split(".")[1], SIGNED[2]]),
    "header changed": ".".join([raw({"alg": "ES256", "kid": "old", "x": 1}).split(".")[0], *SIGNED[1:]]),
    "header not JSON": raw(b"{"),
    "header a list": raw([1]),
    "claims not JSON": raw({"alg": "ES256", "kid": "old"}, b"x"),
    "claims nested deep": raw({"alg": "ES256", "kid": "old"}, b"[" * 5000),
    "claims not UTF-8": raw({"alg": "ES256", "kid": "old"}, b"\xff"),
    "padding": mint() + "=",
    "standard base64": mint().replace("-", "+").replace("_", "/") + "/",
    "space": mint().replace(".", ". ", 1),
    "too long": mint(padding="x" * 9000),
    "another audience": mint(aud="other"),
    "no audience": mint(aud=...),
    "audience a prefix": mint(aud="penstock2"),
    "another endpoint": mint(endpoint="ep2"),
    "no endpoint": mint(endpoint=...),
    "endpoint a list": mint(endpoint=["ep"]),
    "another issuer": mint(iss="evil"),
    "no issuer": mint(iss=...),
    "expired": mint(exp=NOW - 1),
    "expires now": mint(exp=NOW),
    "no expiry": mint(exp=...),
    "expiry a text": raw({"alg": "ES256", "kid": "old"}, {**CLAIMS, "exp": "9999999999"}),
    "expiry infinite": raw({"alg": "ES256", "kid": "old"}, json.dumps({**CLAIMS, "exp": float("inf")}).encode()),
    "expiry true": raw({"alg": "ES256", "kid": "old"}, {**CLAIMS, "exp": True}),
    "expiry beyond floats": raw({"alg": "ES256", "kid": "old"}, {**CLAIMS, "exp": 10**400}),
    "not yet valid": mint(nbf=NOW + 6),
    "nbf a text": raw({"alg": "ES256", "kid": "old"}, {**CLAIMS, "nbf": "x"}),
    "issued in the future": mint(iat=NOW + 6),
    "no time of issue": mint(iat=...),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens_are_refused(name: str) -> None:
    assert policy().verify(HOSTILE[name]) is None


def test_malleable_signatures_are_the_same_token_for_nobody() -> None:
    """Base64url has unused bits at its end: only the canonical spelling counts."""
    token = mint()
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        changed = token[:-1] + last
        assert policy().verify(changed) == ("ada" if changed == token else None)


@pytest.mark.parametrize(("not_before", "client"), [(NOW - 11, "ada"), (NOW - 10, "ada"), (NOW - 9, None)])
def test_revocation_by_time_of_issue(not_before: int, client: str | None) -> None:
    assert policy(not_before=not_before).verify(mint()) == client


def test_without_an_issuer_any_will_do() -> None:
    assert policy(issuer=None).verify(mint(iss=...)) == "ada"


@settings(max_examples=60, deadline=None)
@given(
    now=st.integers(NOW - 200, NOW + 200), iat=st.integers(NOW - 200, NOW + 200), nbf=st.integers(NOW - 200, NOW + 200),
    exp=st.integers(NOW - 200, NOW + 200), not_before=st.integers(NOW - 200, NOW + 200),
)  # fmt: skip
def test_times(now: int, iat: int, nbf: int, exp: int, not_before: int) -> None:
    held = policy(now, not_before=not_before)
    good = now < exp and not_before <= iat <= now + 5 and nbf <= now + 5
    token = mint(iat=iat, nbf=nbf, exp=exp)
    assert held.verify(token) == ("ada" if good else None)
    assert held.verify(token) == ("ada" if good else None)  # from the cache


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.binary(max_size=20), min_size=1, max_size=4).map(
    lambda parts: ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
))  # fmt: skip
def test_garbage_never_gets_in_nor_raises(token: str) -> None:
    assert policy().verify(token) is None


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_changed_character_is_another_token(data: Any) -> None:
    token = mint()
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[at]))
    assert policy().verify(token[:at] + other + token[at + 1 :]) is None


def test_a_remembered_token_expires() -> None:
    now = [NOW]
    held = parse(policy_text(), lambda: now[0])
    token = mint(exp=NOW + 1)
    assert held.verify(token) == "ada"
    now[0] += 1
    assert held.verify(token) is None


def test_what_is_remembered_is_bounded_and_only_what_was_good(monkeypatch: Any) -> None:
    monkeypatch.setattr(tokens, "_CACHED", 3)
    held = policy()
    for number in range(8):
        assert held.verify(mint(jti=number)) == "ada"
        assert held.verify(mint(STRANGER, jti=number)) is None
        assert len(held._verified) <= 3


def test_rotation_and_revocation_through_the_file(tmp_path: Any) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    path, clock = tmp_path / "policy.json", Clock()

    def put(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(path)
        clock.now += 0.2

    put(policy_text(OLD))
    guard = Guard(path, clock, wall=lambda: NOW)
    before, after = f"Bearer {mint(OLD)}", f"Bearer {mint(NEW, 'EdDSA')}"
    assert (guard.client(before), guard.client(after)) == ("ada", None)
    put(policy_text(OLD, NEW))
    assert (guard.client(before), guard.client(after)) == ("ada", "ada")
    put(policy_text(NEW))
    assert (guard.client(before), guard.client(after)) == (None, "ada")
    put(policy_text(NEW, not_before=NOW))
    assert guard.client(after) is None


@pytest.mark.parametrize(
    "change",
    [
        {"audience": None}, {"audience": ""}, {"endpoint": None}, {"endpoint": 1}, {"issuer": 1}, {"issuer": ""},
        {"not_before": None}, {"not_before": "0"}, {"not_before": True}, {"jwks": None}, {"jwks": {}},
        {"jwks": {"keys": [1]}}, {"jwks": {"keys": [{}]}}, {"jwks": {"keys": [OLD.as_dict(private=True)]}},
        {"jwks": {"keys": [{**OLD.as_dict(private=False), "x": "AAAA"}]}},
        {"jwks": {"keys": [{**OLD.as_dict(private=False), "x": "A" * 43}]}},
        {"jwks": {"keys": [{**NEW.as_dict(private=False), "x": 1}]}},
        {"jwks": {"keys": [OLD.as_dict(private=False), STRANGER.as_dict(private=False)]}},
        {"jwks": {"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}},
    ],
)  # fmt: skip
def test_a_policy_that_is_not_understood_is_refused_whole(change: Any) -> None:
    with pytest.raises(PolicyError):
        parse(json.dumps({**json.loads(policy_text()), **change}))


def test_kinds_of_keys_we_do_not_know_are_passed_over() -> None:
    assert list(policy().keys) == ["old", "new"]


def test_keys_alone_need_no_cryptography() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from penstock_scorer.auth.policy import dump, parse\n"
        "from penstock_scorer.auth.errors import PolicyError\n"
        "assert parse(dump(bytes(16), {'a': 'k'})).verify('k') == 'a'\n"
        'try: parse(\'{"version": 1, "mode": "aml_token"}\')\n'
        "except PolicyError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "needs penstock-scorer[tokens]" in said
