"""The requests of one deployment: the last minute in detail, everything before as totals. Constant memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.digest import LatencyDigest

SLOT_S = 5
SLOTS = 12
WINDOW_S = SLOT_S * SLOTS
"""What "lately" means. The oldest slot goes whole, so it is 55 to 60 seconds."""
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
"""Upper bounds of the cumulative latency histogram. 180 s is the longest request_timeout_ms."""
_BOUNDS_US = tuple(round(bound * 1e6) for bound in BOUNDS_S)
OUTCOMES_MAX = 64
"""Kinds of outcome that are told apart; a model that invents status codes must not cost memory without end."""


class Outcome(NamedTuple):
    """How a request ended."""

    code: int
    """The status the client got; 0 when it hung up before there was one."""
    model_code: int
    """The status the model answered; 0 when it did not."""


OTHER = Outcome(0, 0)


@dataclass(frozen=True, slots=True)
class RequestFigures:
    """What is known of a deployment's requests, at one moment."""

    seconds: float
    """How long "lately" is: at most :data:`WINDOW_S`."""
    lately: Mapping[Outcome, int]
    latency: LatencyDigest
    """Of the requests of lately."""
    totals: Mapping[Outcome, int]
    """Since the control plane started."""
    histogram: tuple[int, ...]
    """Requests by latency since the control plane started: up to each of :data:`BOUNDS_S` (not cumulative), above."""
    latency_sum_s: float
    """Since the control plane started."""

    @property
    def per_minute(self) -> float:
        """Requests per minute, lately."""
        return self.rate(sum(self.lately.values()))

    def rate(self, count: int) -> float:
        """``count`` requests of lately, per minute."""
        return count * 60 / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Slot:
    number: int
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    latency: LatencyDigest = field(default_factory=LatencyDigest)


class Traffic:
    """Counts requests as they end. Slots are numbered by the caller: monotonic seconds // :data:`SLOT_S`."""

    __slots__ = ("_histogram", "_since", "_slots", "_sum_us", "_totals")

    def __init__(self, since: float) -> None:
        """``since`` is the moment counting starts, in the seconds that number the slots."""
        self._since = since
        self._slots: deque[_Slot] = deque()
        self._totals: dict[Outcome, int] = {}
        self._histogram = [0] * (len(BOUNDS_S) + 1)
        self._sum_us = 0

    def record(self, slot: int, outcome: Outcome, microseconds: int | None) -> None:
        """Count a request; ``microseconds`` is None when its duration is not known."""
        if outcome not in self._totals and len(self._totals) >= OUTCOMES_MAX:
            outcome = OTHER
        current = self._slots[-1] if self._slots and self._slots[-1].number == slot else self._turn(slot)
        current.outcomes[outcome] = current.outcomes.get(outcome, 0) + 1
        self._totals[outcome] = self._totals.get(outcome, 0) + 1
        if microseconds is not None:
            current.latency.add(microseconds)
            self._histogram[bisect_left(_BOUNDS_US, microseconds)] += 1
            self._sum_us += microseconds

    def expire(self, slot: int) -> None:
        """Let go of what is no longer lately."""
        while self._slots and self._slots[0].number <= slot - SLOTS:
            self._slots.popleft()

    def figures(self, now: float) -> RequestFigures:
        """Everything known at ``now``."""
        slot = int(now // SLOT_S)
        self.expire(slot)
        lately: dict[Outcome, int] = {}
        latency = LatencyDigest()
        for part in self._slots:
            latency.merge(part.latency)
            for outcome, count in part.outcomes.items():
                lately[outcome] = lately.get(outcome, 0) + count
        covered = now - max(self._since, (slot - SLOTS + 1) * SLOT_S)
        return RequestFigures(
            max(covered, 1.0), lately, latency, dict(self._totals), tuple(self._histogram), self._sum_us / 1e6
        )

    def _turn(self, slot: int) -> _Slot:
        self.expire(slot)
        self._slots.append(_Slot(slot))
        return self._slots[-1]
