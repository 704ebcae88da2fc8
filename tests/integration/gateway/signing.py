"""Signs tokens as the control plane does, and as those do who would like to be it."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.routes import PublicKey, TokenTrust

ISSUER, AUDIENCE = "penstock-test", "penstock-scoring"


class Signer:
    """One signing key."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._key = ECKey.generate_key("P-256", {"kid": kid})

    @property
    def public(self) -> PublicKey:
        numbers = self._key.as_dict(private=False)
        return PublicKey(self.kid, str(numbers["x"]), str(numbers["y"]))

    def token(self, endpoint: str = "e", *, kid: str | None = None, lifetime: int = 600, **claims: Any) -> str:
        """A token that would be accepted, but for what ``claims`` and the rest change (None takes a claim out)."""
        now = int(time.time())
        known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "endpoint": endpoint}
        every = {**known, "iat": now, "nbf": now, "exp": now + lifetime, **claims}
        kept = {name: value for name, value in every.items() if value is not None}
        return str(jwt.encode({"alg": "ES256", "kid": kid or self.kid}, kept, self._key))


def trust(*signers: Signer) -> TokenTrust:
    return TokenTrust(ISSUER, AUDIENCE, tuple(signer.public for signer in signers))


def unsigned(endpoint: str = "e", alg: str = "none", **header: str) -> str:
    """A token nobody signed."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "endpoint": endpoint, "iat": now, "exp": now + 600}
    return f"{_part({'alg': alg, **header})}.{_part(claims)}."


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
