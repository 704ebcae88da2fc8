"""The two keys of an endpoint: made, shown and replaced. Only digests leave this file towards the platform."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.records import ClientKey, EndpointRecord
from controlplane.domain.specs import AuthMode
from controlplane.usecases.ports import Randomness, Vault
from controlplane.usecases.results import Keys

KEY_MIN, KEY_MAX = 16, 256
_ALLOWED = frozenset(map(chr, range(0x21, 0x7F))) - {","}
"""Printable ASCII. A comma is what several headers are joined with."""


class KeyName(StrEnum):
    """Which key."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class KeyRing:
    """Makes keys and seals them; knows none between calls."""

    def __init__(self, vault: Vault, randomness: Randomness) -> None:
        self._vault = vault
        self._randomness = randomness

    def issue(self, record: EndpointRecord) -> tuple[EndpointRecord, Mapping[str, bytes]]:
        """The record with two new keys' digests, and the sealed keys; neither when its clients use tokens."""
        if record.spec.auth_mode is not AuthMode.KEY:
            return record, {}
        keys = {name: self._randomness.key() for name in KeyName}
        digests = tuple(_digests(record.salt, name, key) for name, key in keys.items())
        return replace(record, keys=digests), {n.value: self._seal(record, n, key) for n, key in keys.items()}

    def replace(self, record: EndpointRecord, name: KeyName, value: str) -> tuple[EndpointRecord, Mapping[str, bytes]]:
        """The record with one key replaced by ``value`` or a random one, and the sealed key.

        Raises:
            InvalidArgumentError: ``value`` is too short, too long, or not printable ASCII without spaces and commas.
        """
        key = value or self._randomness.key()
        if not KEY_MIN <= len(key) <= KEY_MAX or not _ALLOWED.issuperset(key):
            raise InvalidArgumentError(
                Violation(
                    "key_value", f"must be {KEY_MIN} to {KEY_MAX} printable ASCII characters without spaces and commas"
                )
            )
        new = _digests(record.salt, name, key)
        if any(other.digest == new.digest and other.name != name.value for other in record.keys):
            raise InvalidArgumentError(Violation("key_value", "is the other key of this endpoint"))
        keys = tuple(new if old.name == name.value else old for old in record.keys)
        return replace(record, keys=keys), {name.value: self._seal(record, name, key)}

    def open(self, record: EndpointRecord, sealed: Mapping[str, bytes]) -> Keys:
        """Both keys.

        Raises:
            StoreError: they cannot be decrypted.
        """
        primary, secondary = (self._vault.open(record.uid, n.value, sealed[n.value]) for n in KeyName)
        return Keys(primary, secondary)

    def _seal(self, record: EndpointRecord, name: KeyName, key: str) -> bytes:
        return self._vault.seal(record.uid, name.value, key)


def _digests(salt: str, name: KeyName, key: str) -> ClientKey:
    return ClientKey(
        name=name.value,
        digest=hashlib.sha256(key.encode()).hexdigest(),
        salted_digest=hashlib.sha256(bytes.fromhex(salt) + key.encode()).hexdigest(),
    )
