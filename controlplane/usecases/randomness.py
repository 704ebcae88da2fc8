"""Real chance for the control plane; tests plug in their own."""

from __future__ import annotations

import secrets


class SystemRandomness:
    """From the operating system's generator."""

    def uid(self) -> str:
        """32 hex digits."""
        return secrets.token_hex(16)

    def key(self) -> str:
        """A new endpoint key: 43 URL-safe characters, 256 bits."""
        return secrets.token_urlsafe(32)

    def salt(self) -> str:
        """32 hex digits."""
        return secrets.token_hex(16)
