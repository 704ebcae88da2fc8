"""What a script allows to be merged: the mark ``@batched``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "__penstock_batched__"
_LARGEST = 4096


@dataclass(frozen=True)
class BatchPolicy:
    """How requests are merged.

    Raises:
        ValueError: a size or a delay out of range, at the script's own line.
    """

    max_size: int = 16
    """Requests in one call, 1 to 4096; 1 switches merging off."""
    max_delay_s: float = 0.002
    """Seconds a call may be held back for requests that are expected to join it; 0: never."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_size <= _LARGEST:
            raise ValueError(f"max_size is {self.max_size}, not between 1 and {_LARGEST}")
        if not 0 <= self.max_delay_s <= 1:
            raise ValueError(f"max_delay_ms is {self.max_delay_s * 1000:g}, not between 0 and 1000")


def batched(*, max_size: int = 16, max_delay_ms: float = 2.0) -> Callable[[_Function], _Function]:
    """Let ``run`` or ``infer`` take many requests in one call.

    A batched ``run(inputs)`` gets a list of what ``run`` would have got one by one, and returns as many results,
    in the same order; a result that is an exception fails that request alone. If the call raises, its inputs are
    tried again in halves until the ones at fault stand alone, so a batched function must not mind being called
    twice with the same input.

    Args:
        max_size: Requests in one call, at most.
        max_delay_ms: Milliseconds a call may be held back for requests that are expected to join it.
    """
    policy = BatchPolicy(max_size, max_delay_ms / 1000)

    def mark(function: _Function) -> _Function:
        setattr(function, _MARK, policy)
        return function

    return mark


def policy_of(function: Callable[..., Any] | None) -> BatchPolicy | None:
    """The policy ``function`` was marked with; None without a mark."""
    policy = getattr(function, _MARK, None)
    return policy if isinstance(policy, BatchPolicy) else None
