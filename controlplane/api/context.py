"""What is known of the call being handled: set by the interceptors, read by the servicers."""

from __future__ import annotations

from contextvars import ContextVar

from controlplane.domain.operations import Caller

_CALLER: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the present call, and by which request."""
    return _CALLER.get(Caller())


def set_caller(who: Caller) -> None:
    """Say so, for the rest of the call's task."""
    _CALLER.set(who)
