"""The authentication policy: its format, and who a credential belongs to. Pure functions, no files, no clock.

The control plane writes the policy as one JSON object (atomically: a temporary file in the same folder, then
rename)::

    {
      "version": 1,
      "mode": "key",
      "salt": "<hex, at least 16 bytes>",
      "keys": [{"name": "primary", "digest": "<hex of SHA-256(salt bytes + key in UTF-8)>"}, ...]
    }

or, where clients bring tokens signed by the control plane::

    {
      "version": 1,
      "mode": "aml_token",
      "audience": "<what a token's aud must hold>",
      "endpoint": "<what its claim endpoint must be>",
      "issuer": "<what its iss must be; optional>",
      "not_before": <seconds since 1970: tokens issued (iat) earlier are revoked; 0 for none>,
      "jwks": {"keys": [{"kid": ..., "kty": "EC", "crv": "P-256", "x": ..., "y": ...},
                        {"kid": ..., "kty": "OKP", "crv": "Ed25519", "x": ...}, ...]}
    }

``version`` is 1. A ``mode`` this scorer does not know is refused whole, so that an older scorer fails closed
instead of guessing. ``keys`` may be empty: then nobody gets in. Unknown fields are ignored, so that fields can be
added.

No key is ever in the file, only salted digests; keys are random, so one round of SHA-256 is enough. ``jwks`` holds
public keys only (a private one is refused), the old and the new while signing keys are rotated; kinds of keys that
this scorer does not know are passed over. ``iat`` is compared in whole seconds: revoking sets ``not_before`` to the
next second, and the next token is issued no earlier. :mod:`penstock_scorer.auth.tokens` says what else a token needs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock_scorer.auth.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1
MIN_SALT_BYTES = 16
_DIGEST_BYTES = hashlib.sha256().digest_size


class Policy(Protocol):
    """Who a credential belongs to."""

    def verify(self, credential: str) -> str | None:
        """The client's name, or None when the credential must be refused."""


@dataclass(frozen=True)
class KeyPolicy:
    """Salted digests of the keys that are accepted."""

    salt: bytes
    keys: tuple[tuple[str, bytes], ...]
    """Pairs (client name, digest)."""

    def verify(self, credential: str) -> str | None:
        """The name of the key ``credential`` is, or None; in the same time whichever key matches."""
        digest = digest_key(self.salt, credential)
        found = None
        for name, expected in self.keys:
            if hmac.compare_digest(digest, expected):
                found = name
        return found


def digest_key(salt: bytes, key: str) -> bytes:
    """What the policy stores of a key."""
    return hashlib.sha256(salt + key.encode("utf-8", "surrogateescape")).digest()


def dump(salt: bytes, keys: Mapping[str, str]) -> str:
    """The policy file's text for ``keys`` (client name -> key in clear)."""
    listed = [{"name": name, "digest": digest_key(salt, key).hex()} for name, key in keys.items()]
    return json.dumps({"version": VERSION, "mode": "key", "salt": salt.hex(), "keys": listed})


def parse(text: str | bytes, clock: Callable[[], float] = time.time) -> Policy:
    """Read a policy.

    Args:
        text: The file's content.
        clock: Seconds since 1970, for tokens.

    Raises:
        PolicyError: not JSON, another version or mode, a field missing or malformed, or tokens without the
            ``cryptography`` package.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError("it is not JSON") from error
    if not isinstance(data, dict):
        raise PolicyError("it is not a JSON object")
    if data.get("version") != VERSION:
        raise PolicyError(f"its version is {data.get('version')!r}, this scorer reads {VERSION}")
    mode = data.get("mode")
    if mode == "key":
        return _key_policy(data)
    if mode == "aml_token":
        try:
            from penstock_scorer.auth import tokens  # noqa: PLC0415 - 5 MB of cryptography, for tokens alone
        except ImportError:
            raise PolicyError("its mode is 'aml_token', which needs penstock-scorer[tokens] (cryptography)") from None
        return tokens.parse(data, clock)
    raise PolicyError(f"its mode is {mode!r}, this scorer knows 'key' and 'aml_token'")


def bearer(header: str | None) -> str | None:
    """The credential of an ``Authorization: Bearer ...`` header; None without one."""
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    credential = credential.strip(" ")
    return credential if credential and scheme.lower() == "bearer" else None


def _key_policy(data: Mapping[str, Any]) -> KeyPolicy:
    salt = _hex(data.get("salt"), "salt")
    if len(salt) < MIN_SALT_BYTES:
        raise PolicyError(f"its salt is shorter than {MIN_SALT_BYTES} bytes")
    keys = data.get("keys")
    if not isinstance(keys, list):
        raise PolicyError("'keys' is not a list")
    return KeyPolicy(salt, tuple(_key(entry) for entry in keys))


def _key(entry: Any) -> tuple[str, bytes]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise PolicyError("a key has no name")
    digest = _hex(entry.get("digest"), "digest")
    if len(digest) != _DIGEST_BYTES:
        raise PolicyError(f"the digest of {entry['name']!r} is not a SHA-256")
    return entry["name"], digest


def _hex(value: Any, name: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise PolicyError(f"{name!r} is not hex") from None
