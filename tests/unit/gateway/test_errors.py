"""What users read of errors is what the gateway says."""

from __future__ import annotations

import re
from pathlib import Path

import gateway
from gateway.translate import errors

DOCUMENTED = Path(gateway.__file__).parents[1] / "docs" / "call-an-endpoint.md"


def test_every_status_of_the_gateway_is_documented() -> None:
    rows = set(map(int, re.findall(r"^\| (\d{3}) \|", DOCUMENTED.read_text(), flags=re.MULTILINE)))
    own = (
        {answer.status for _, answer in errors._BY_FLAG} | {status for status, _ in errors._BY_STATUS} | {401, 403, 404}
    )
    assert own <= rows
    assert rows - own == {200, 308, 424}
