"""Tokens: JSON Web Tokens that the control plane signed, verified here without asking it.

A key decides the algorithm, never the token: an EC key on P-256 verifies ``ES256``, an Ed25519 key ``EdDSA`` (or its
newer name ``Ed25519``), and there is nothing else, so neither ``none`` nor a confused algorithm can be asked for
(RFC 8725, 3.1). What is cheap is checked before the signature; nothing is believed before it.

Only a policy of mode ``aml_token`` imports this module: it needs ``cryptography``, the extra
``penstock-scorer[tokens]``.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from penstock_scorer.auth.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LENGTH = 8192
"""Characters a token may have."""
LEEWAY_S = 5.0
"""Seconds our clock may be behind the one that wrote ``iat`` and ``nbf``. ``exp`` has none."""
_CACHED = 1024
_COORDINATE_BYTES = 32
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_PublicKey = EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True)
class TokenPolicy:
    """Which tokens are accepted.

    A token must name ``audience`` (``aud``), ``endpoint`` (claim ``endpoint``) and, where the policy does, ``issuer``
    (``iss``); have been issued (``iat``) at or after ``not_before``; not have expired (``exp``); and, if it says so
    (``nbf``), be valid already. Times are seconds since 1970. Verified tokens are remembered, 1024 at most, until
    the policy is replaced.
    """

    audience: str
    endpoint: str
    issuer: str | None
    not_before: int
    keys: Mapping[str, _PublicKey]
    """By key id (``kid``)."""
    clock: Callable[[], float]
    """Seconds since 1970."""
    _verified: dict[str, tuple[str, float]] = field(default_factory=dict, compare=False, repr=False)

    def verify(self, credential: str) -> str | None:
        """The client's name (``sub``, or ``token``), or None when the token must be refused."""
        now = self.clock()
        known = self._verified.get(credential)
        if known is None:
            known = self._check(credential, now)
            if known is None:
                return None
            if len(self._verified) >= _CACHED:
                self._verified.clear()
            self._verified[credential] = known
        client, expires = known
        return client if now < expires else None

    def _check(self, token: str, now: float) -> tuple[str, float] | None:
        """The client's name and the expiry of a token whose signature and claims are good."""
        if len(token) > MAX_LENGTH or token.count(".") != 2:  # noqa: PLR2004 - header.payload.signature
            return None
        signed, _, signature = token.rpartition(".")
        header, payload = (_object(part) for part in signed.split("."))
        if header is None or payload is None or "crit" in header or "b64" in header:
            return None
        key_id = header.get("kid")
        key = self.keys.get(key_id) if isinstance(key_id, str) else None
        expires = _seconds(payload.get("exp"))
        if key is None or expires is None or now >= expires or not self._admits(payload, now):
            return None
        if not _signed(key, header.get("alg"), signed.encode("ascii"), _decode(signature)):
            return None
        subject = payload.get("sub")
        return (subject if isinstance(subject, str) and subject else "token"), expires

    def _admits(self, claims: dict[str, Any], now: float) -> bool:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        issued = _seconds(claims.get("iat"))
        begins = _seconds(claims.get("nbf", 0))
        return (
            self.audience in audiences
            and claims.get("endpoint") == self.endpoint
            and (self.issuer is None or claims.get("iss") == self.issuer)
            and issued is not None
            and self.not_before <= issued <= now + LEEWAY_S
            and begins is not None
            and begins <= now + LEEWAY_S
        )


def parse(data: Mapping[str, Any], clock: Callable[[], float]) -> TokenPolicy:
    """Read the fields of a policy of mode ``aml_token``.

    Raises:
        PolicyError: a field is missing or malformed.
    """
    issuer, not_before = data.get("issuer"), data.get("not_before")
    if issuer is not None and not (isinstance(issuer, str) and issuer):
        raise PolicyError("'issuer' is not a text")
    if not isinstance(not_before, int) or isinstance(not_before, bool):
        raise PolicyError("'not_before' is not a whole number of seconds")
    jwks = data.get("jwks")
    listed = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(listed, list):
        raise PolicyError("'jwks' has no list of keys")
    keys: dict[str, _PublicKey] = {}
    for entry in listed:
        key_id, key = _public_key(entry)
        if key_id in keys:
            raise PolicyError(f"two keys have the id {key_id!r}")
        if key is not None:
            keys[key_id] = key
    return TokenPolicy(_text(data, "audience"), _text(data, "endpoint"), issuer, not_before, keys, clock)


def _public_key(entry: Any) -> tuple[str, _PublicKey | None]:
    """A key of the set; None for a kind that this scorer does not know (RFC 7517, 5)."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        raise PolicyError("a signing key has no 'kid'")
    key_id = entry["kid"]
    if "d" in entry or "k" in entry:
        raise PolicyError(f"the signing key {key_id!r} holds a secret: only public keys belong in a policy")
    kind = (entry.get("kty"), entry.get("crv"))
    try:
        if kind == ("EC", "P-256"):
            x, y = (int.from_bytes(_coordinate(entry.get(name)), "big") for name in ("x", "y"))
            return key_id, EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        if kind == ("OKP", "Ed25519"):
            return key_id, Ed25519PublicKey.from_public_bytes(_coordinate(entry.get("x")))
    except ValueError:
        raise PolicyError(f"the signing key {key_id!r} is malformed") from None
    return key_id, None


def _signed(key: _PublicKey, algorithm: Any, message: bytes, signature: bytes | None) -> bool:
    if signature is None or len(signature) != 2 * _COORDINATE_BYTES:
        return False
    try:
        if isinstance(key, Ed25519PublicKey):
            if algorithm not in ("EdDSA", "Ed25519"):
                return False
            key.verify(signature, message)
        else:
            if algorithm != "ES256":
                return False
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _object(part: str) -> dict[str, Any] | None:
    decoded = _decode(part)
    if decoded is None:
        return None
    try:
        value = json.loads(decoded)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decode(part: str) -> bytes | None:
    """Base64url without padding, exactly: one text for each value, so that no token has a second spelling."""
    if not _BASE64URL.fullmatch(part):
        return None
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() == part else None


def _coordinate(value: Any) -> bytes:
    decoded = _decode(value) if isinstance(value, str) else None
    if decoded is None or len(decoded) != _COORDINATE_BYTES:
        raise ValueError(value)
    return decoded


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise PolicyError(f"{name!r} is not a text")
    return value
