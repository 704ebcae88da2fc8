"""ES256 (RFC 7518, 3.4): makes signing keys and signs tokens. Imported late: JOSE takes a quarter of a second."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.signing import PublicKey


class Es256:
    """Real signatures; call it off the event loop."""

    def generate(self, kid: str) -> tuple[PublicKey, str]:
        """A new key: its public part, and the private one in base64url."""
        from joserfc.jwk import ECKey  # noqa: PLC0415  # see the module's docstring

        numbers = ECKey.generate_key("P-256").as_dict(private=True)
        return PublicKey(kid, str(numbers["x"]), str(numbers["y"])), str(numbers["d"])

    def sign(self, public: PublicKey, private: str, claims: Mapping[str, str | int]) -> str:
        """A JSON Web Token."""
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.jwk import ECKey  # noqa: PLC0415

        key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": public.x, "y": public.y, "d": private})
        return jwt.encode({"alg": "ES256", "typ": "JWT", "kid": public.kid}, dict(claims), key)
