from __future__ import annotations

import pytest

from penstock.manifest import TrafficError, parse_traffic


@pytest.mark.parametrize(
    ("text", "traffic"),
    [
        ("blue=90 green=10", {"blue": 90, "green": 10}),
        ("blue:90,green:10", {"blue": 90, "green": 10}),
        ("blue = 90 ,green= 10%", {"blue": 90, "green": 10}),
        (" blue=0", {"blue": 0}),
        ("", {}),
    ],
)
def test_what_is_understood(text: str, traffic: dict[str, int]) -> None:
    assert parse_traffic(text) == traffic


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blue", "is no traffic"),
        ("blue=", "is given ''"),
        ("blue=ten", "is given 'ten'"),
        ("blue=-1", "is given '-1'"),
        ("blue=101", "is given '101'"),
        ("blue=1.5", "is given '1.5'"),
        ("blue=10 blue=90", "twice"),
        ("=10", "is no traffic"),
        ("blue=10=20", "is no traffic"),
        ("blue=" + "9" * 5000, "from 0 to 100"),
        ("blue=٩٠", "from 0 to 100"),
    ],
)
def test_what_is_not(text: str, message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        parse_traffic(text)
