"""The rules of traffic: percent per deployment, all of it or none.

Source: the contract page on behaviours. Traffic sums to 100 or is all 0, names only deployments that exist, and a
mirror takes at most 50 % to one deployment that has no live traffic.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from controlplane.domain.errors import InvalidTrafficError, Violation

WHOLE = 100
MIRROR_MAX = 50


def without_zeros(traffic: Mapping[str, int]) -> dict[str, int]:
    """The entries that matter; two maps that agree here mean the same."""
    return {name: percent for name, percent in traffic.items() if percent}


def shown(traffic: Mapping[str, int], deployments: Collection[str]) -> dict[str, int]:
    """Traffic as users see it: a 0 for each deployment without an entry."""
    return dict.fromkeys(sorted(deployments), 0) | dict(traffic)


def check_traffic(
    traffic: Mapping[str, int], mirror: Mapping[str, int], deployments: Collection[str], *, endpoint: str = ""
) -> None:
    """Accept both maps or say everything that is wrong with them.

    Raises:
        InvalidTrafficError: with one violation per mistake.
    """
    violations = [*_traffic_mistakes(traffic, deployments), *_mirror_mistakes(mirror, traffic, deployments)]
    if violations:
        raise InvalidTrafficError(*violations, resource=f"endpoints/{endpoint}" if endpoint else "")


def _traffic_mistakes(traffic: Mapping[str, int], deployments: Collection[str]) -> list[Violation]:
    mistakes = [_unknown("traffic", name, deployments) for name in traffic if name not in deployments]
    mistakes += [
        Violation("traffic", f"'{name}' is given {percent} %, and a share is 0 to 100")
        for name, percent in traffic.items()
        if not 0 <= percent <= WHOLE
    ]
    total = sum(traffic.values())
    if not mistakes and total not in (0, WHOLE):
        said = " + ".join(f"{name} {percent}" for name, percent in traffic.items())
        mistakes.append(Violation("traffic", f"must sum to 100 (or be all 0), and {said} is {total}"))
    return mistakes


def _mirror_mistakes(
    mirror: Mapping[str, int], traffic: Mapping[str, int], deployments: Collection[str]
) -> list[Violation]:
    field, live = "mirror_traffic", without_zeros(mirror)
    mistakes = [_unknown(field, name, deployments) for name in mirror if name not in deployments]
    if len(live) > 1:
        mistakes.append(Violation(field, f"goes to one deployment at most, and {len(live)} are named"))
    for name, percent in live.items():
        if not 0 < percent <= MIRROR_MAX:
            mistakes.append(Violation(field, f"'{name}' is given {percent} %, and a mirror takes 1 to 50"))
        if traffic.get(name):
            mistakes.append(Violation(field, f"'{name}' has live traffic, and a mirror goes to one that has none"))
    return mistakes


def _unknown(field: str, name: str, deployments: Collection[str]) -> Violation:
    near = difflib.get_close_matches(name, deployments, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    have = ", ".join(sorted(deployments)) or "none"
    return Violation(field, f"names '{name}'{meant}, and the endpoint's deployments are: {have}")
