"""Which answers are held back to be sent together, and that it makes no other difference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from penstock_scorer.dataplane.job import Headers, Job
from penstock_scorer.dataplane.replies import Replies, Seat
from penstock_scorer.telemetry.metrics import Metrics


class Exchange:
    def __init__(self, *, holds: bool) -> None:
        self.sent: list[tuple[int, Headers, bytes]] = []
        self.held: list[Callable[[], None]] = []
        self._holds = holds

    def hold(self, send: Callable[[], None]) -> bool:
        if self._holds:
            self.held.append(send)
        return self._holds

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.sent.append((status, headers, body))


class Desk:
    """One slot that answers one job."""

    def __init__(self, *, holds: bool) -> None:
        self.released = 0
        self.exchange = Exchange(holds=holds)
        self.metrics = Metrics(1, 1)
        self.job = Job(self.exchange, "POST", "/score", "", "", list, [("x-request-id", "r")], 1.0)
        self._seat = Seat(self.metrics.lane(0, 0), self._release)
        self._replies = Replies(1000, lambda: 3.0)

    def answer(self, result: object) -> None:
        self._replies.result(self.job, self._seat, result, 0.5)

    def _release(self) -> None:
        self.released += 1


@pytest.mark.parametrize("holds", [True, False])
def test_the_same_is_sent_and_counted(holds):
    desk = Desk(holds=holds)
    desk.answer([1.5])
    assert (len(desk.exchange.held), len(desk.exchange.sent)) == ((1, 0) if holds else (0, 1))
    totals = desk.metrics.totals()
    assert (desk.released, desk.job.answered, desk.job.held, totals.codes["200"]) == (1, True, holds, 1)
    for send in desk.exchange.held:
        send()
    assert desk.exchange.sent == [(
        200,
        [
            ("content-type", "application/json"), ("x-ms-run-function-failed", "False"),
            ("x-ms-run-fn-exec-ms", "500.000"), ("x-request-id", "r"),
        ],
        b"[1.5]",
    )]  # fmt: skip


def test_what_is_large_is_not_held_back():
    desk = Desk(holds=True)
    desk.answer("x" * 20_000)
    assert (desk.exchange.held, len(desk.exchange.sent)) == ([], 1)


def test_what_the_script_does_to_its_result_afterwards_is_not_seen():
    desk, result = Desk(holds=True), [1]
    desk.answer(result)
    result.append(2)
    desk.exchange.held[0]()
    assert desk.exchange.sent[0][2] == b"[1]"


def test_an_answer_that_another_has_given_is_not_held_back():
    desk = Desk(holds=True)
    desk.job.take_answer()
    desk.answer(1)
    assert (desk.exchange.held, desk.exchange.sent) == ([], [])
