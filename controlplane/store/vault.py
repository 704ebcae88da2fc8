"""Endpoint keys at rest: encrypted with a master key that lies beside the database, not in it.

A copy of the database alone (a backup, a bug report) opens nothing. AES-256-GCM; the endpoint's uid and the key's name
are authenticated with each value, so that one cannot be put in another's place.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from controlplane.domain.errors import StoreError

_BYTES = 32
_NONCE_BYTES = 12


class Vault:
    """Seals and opens keys with the master key in one file, which is made on first use with mode 0600."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._master = b""

    def seal(self, endpoint_uid: str, name: str, key: str) -> bytes:
        """``key`` encrypted: a nonce, then the ciphertext with its tag."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # 6 MB, needed rarely

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._key()).encrypt(nonce, key.encode(), _context(endpoint_uid, name))

    def open(self, endpoint_uid: str, name: str, sealed: bytes) -> str:
        """The key.

        Raises:
            StoreError: the master key is not the one it was sealed with, or the value was tampered with.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key()).decrypt(nonce, content, _context(endpoint_uid, name)).decode()
        except (InvalidTag, ValueError) as error:
            raise StoreError(
                f"The {name} key cannot be decrypted: {self._file} is not the master key it was encrypted with.",
                hint="Restore that file from the backup the database came from, or regenerate the key.",
            ) from error

    def _key(self) -> bytes:
        if not self._master:
            self._master = _read_or_make(self._file)
        return self._master


def _context(endpoint_uid: str, name: str) -> bytes:
    return f"{endpoint_uid}/{name}".encode()


def _read_or_make(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        _make(file)
        content = file.read_bytes()
    if len(content) != _BYTES:
        raise StoreError(
            f"The master key {file} is damaged: it has {len(content)} bytes instead of {_BYTES}.",
            hint="Restore the file from a backup.",
        )
    return content


def _make(file: Path) -> None:
    """Whole or not at all, and never over one that another process made meanwhile."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(secrets.token_bytes(_BYTES))
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(temporary, file)
        except FileExistsError:
            return
    finally:
        os.unlink(temporary)  # noqa: PTH108
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
