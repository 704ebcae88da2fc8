"""Seals what is secret in the gateway's snapshot, the private key of the certificate, with the home's master key.

The snapshot lies beside the database and is protected as that is: a copy of it alone (a backup, a bug report) opens
nothing, and no file of a user's own is copied in clear to where they did not put it.
"""

from __future__ import annotations

import base64
from pathlib import Path

from controlplane.domain.errors import StoreError
from controlplane.store.vault import Vault

_OWNER, _NAME = "gateway", "snapshot"


class SnapshotSeal:
    """Implements :class:`gateway.journal.Seal` on the master key in a file."""

    def __init__(self, master_key: Path) -> None:
        self._master_key = master_key
        self._vault = Vault(master_key)

    def close(self, content: bytes) -> bytes:
        """``content``, encrypted.

        Raises:
            OSError: the master key is damaged, or cannot be read or made.
        """
        try:
            return self._vault.seal(_OWNER, _NAME, base64.b64encode(content).decode())
        except StoreError as error:
            raise OSError(str(error)) from error

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Never makes a master key: one that is missing opened nothing.

        Raises:
            ValueError: the master key is another, or is not there.
        """
        try:
            if not self._master_key.exists():
                raise ValueError(f"{self._master_key} is missing")
            return base64.b64decode(self._vault.open(_OWNER, _NAME, sealed))
        except (StoreError, OSError) as error:
            raise ValueError(str(error)) from error
