"""Why a policy cannot be used; apart from the policies, because both kinds raise it."""

from __future__ import annotations


class PolicyError(Exception):
    """The policy cannot be used; the message says why and holds no digest."""
