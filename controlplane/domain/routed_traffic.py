"""When a wish for traffic becomes effective: never before every deployment in it can answer.

A user may set the traffic of a deployment that is still starting, or create everything in one go. The gateway keeps
the weights it has until all newly named deployments have an instance that answers, then moves at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from controlplane.domain.traffic import without_zeros


@dataclass(frozen=True, slots=True)
class RoutedTraffic:
    """The weights to route with now, and the deployments the wished-for ones still wait for."""

    weights: Mapping[str, int]
    waiting_for: tuple[str, ...] = ()


def routed_traffic(
    wished: Mapping[str, int], effective: Mapping[str, int], answering: Collection[str], existing: Collection[str]
) -> RoutedTraffic:
    """What to route with.

    Args:
        wished: the endpoint's desired traffic, valid by :func:`controlplane.domain.traffic.check_traffic`.
        effective: what the gateway last acknowledged.
        answering: deployments with an instance that answers.
        existing: deployments that are there and not being deleted.

    A deployment that had traffic before keeps its claim while it has no instance: its share gets 503, which says the
    truth, where a silent move to another model would not.
    """
    wished, effective = without_zeros(wished), without_zeros(effective)
    waiting = tuple(sorted(name for name in wished if name not in answering and not effective.get(name)))
    if not waiting:
        return RoutedTraffic(wished)
    kept = {name: percent for name, percent in effective.items() if name in existing}
    return RoutedTraffic(kept if sum(kept.values()) == sum(effective.values()) else {}, waiting)
