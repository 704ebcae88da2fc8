"""Traffic as people write it, in a file or on a command line, and the rules that need no platform to check."""

from __future__ import annotations

import re
from collections.abc import Mapping

from penstock.errors import PenstockError

WHOLE = 100
MIRROR_MAX = 50
_PAIR = re.compile(r"\s*([^\s=:,]+)\s*[=:]\s*([^\s,=:]*)\s*(?:,|\s|$)")


class TrafficError(PenstockError):
    """A traffic argument cannot be understood, or breaks a rule."""


def parse_traffic(text: str) -> dict[str, int]:
    """``blue=90 green=10`` or ``blue:90,green:10`` as a map. Empty text is an empty map.

    Raises:
        TrafficError: it has another form, names something twice, or gives other than 0 to 100 percent.
    """
    traffic: dict[str, int] = {}
    rest = text.strip()
    while rest:
        pair = _PAIR.match(rest)
        if pair is None:
            raise TrafficError(f"'{text}' is no traffic", hint='write it as "blue=90 green=10"')
        name, percent = pair.groups()
        percent = percent.removesuffix("%")
        if not (percent.isascii() and percent.isdigit()) or len(percent) > len(str(WHOLE)) or int(percent) > WHOLE:
            raise TrafficError(f"'{name}' is given '{percent}', and a share is a whole number from 0 to 100")
        if name in traffic:
            raise TrafficError(f"'{name}' is given traffic twice")
        traffic[name] = int(percent)
        rest = rest[pair.end() :].strip()
    return traffic


def traffic_mistake(traffic: Mapping[str, int]) -> str:
    """What is wrong with the sum, or nothing."""
    total = sum(traffic.values())
    if total in (0, WHOLE):
        return ""
    return f"traffic must sum to 100 (or be all 0), and {_said(traffic)} is {total}"


def mirror_mistake(mirror: Mapping[str, int], traffic: Mapping[str, int]) -> str:
    """What is wrong with a mirror, or nothing: one deployment, 1 to 50 %, that has no live traffic."""
    live = {name: percent for name, percent in mirror.items() if percent}
    if len(live) > 1:
        return f"mirror traffic goes to one deployment at most, and {len(live)} are named"
    for name, percent in live.items():
        if percent > MIRROR_MAX:
            return f"'{name}' is given {percent} % mirror traffic, and a mirror takes 1 to {MIRROR_MAX}"
        if traffic.get(name):
            return f"'{name}' has live traffic, and a mirror goes to one that has none"
    return ""


def _said(traffic: Mapping[str, int]) -> str:
    return " + ".join(f"{name} {percent}" for name, percent in traffic.items())
