"""Which gateways of other machines are let in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.pki.enrolments import Enrolment, EnrolmentError, Enrolments

EDGE = Enrolment("edge", "0.0.0.0", 8080, 8443, 30, "a1")


def test_one_is_let_in_until_it_is_expelled(tmp_path: Path) -> None:
    enrolments = Enrolments(tmp_path / "gateways")
    assert enrolments.find("edge") is None
    enrolments.add(EDGE)
    assert Enrolments(tmp_path / "gateways").find("edge") == EDGE
    enrolments.remove("edge")
    assert enrolments.find("edge") is None
    with pytest.raises(EnrolmentError, match="no gateway 'edge' is enrolled"):
        enrolments.remove("edge")


def test_an_admission_lasts_until_the_gateway_is_expelled(tmp_path: Path) -> None:
    enrolments = Enrolments(tmp_path)
    first = replace(EDGE, admission=enrolments.admission("edge"))
    enrolments.add(first)
    assert enrolments.admission("edge") == first.admission  # enrolled again, what runs goes on
    assert enrolments.of_peer(first.peer) == first
    assert [enrolments.of_peer(peer) for peer in ("edge", "edge/", "edge/a1", f"other/{first.admission}")] == [None] * 4
    enrolments.remove("edge")
    second = replace(EDGE, admission=enrolments.admission("edge"))
    enrolments.add(second)
    assert (enrolments.of_peer(first.peer), enrolments.of_peer(second.peer)) == (None, second)


@pytest.mark.parametrize("name", ["", "gateway", "../edge", "a/b", "Edge", "-a", "a-", "a.json", "x" * 64, "a\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    enrolments = Enrolments(tmp_path)
    with pytest.raises(EnrolmentError, match="cannot name a gateway"):
        enrolments.admission(name)
    assert enrolments.find(name) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"name": "edge"}', "junk"])
def test_a_damaged_record_lets_nobody_in(tmp_path: Path, content: str) -> None:
    (tmp_path / "edge.json").write_text(content)
    assert Enrolments(tmp_path).find("edge") is None
