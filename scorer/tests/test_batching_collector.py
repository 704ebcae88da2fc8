"""Forming batches, in virtual time."""

from collections import deque
from queue import Empty
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.batching.collector import Collector
from penstock_scorer.batching.policy import BatchPolicy


class Line:
    """A queue whose items arrive at set times, on a clock that only waiting moves."""

    def __init__(self, arrivals: Any) -> None:
        self.now = 0.0
        self.waited = 0.0
        self.items = deque(sorted(arrivals))

    def clock(self) -> float:
        return self.now

    def get(self, block: bool = True, timeout: Any = None) -> Any:
        if not self.items:
            if block and timeout is None:
                return None
            self._pass(timeout if block else 0)
            raise Empty
        due = self.items[0][0]
        if due > self.now:
            if not block or (timeout is not None and due > self.now + timeout):
                self._pass(timeout if block else 0)
                raise Empty
            if timeout is not None:
                self.waited += due - self.now
            self.now = due
        return self.items.popleft()[1]

    def _pass(self, seconds: Any) -> None:
        self.now += seconds or 0
        self.waited += seconds or 0

    def put(self, item: Any) -> None:
        self.items.append((self.now, item))

    def qsize(self) -> int:
        return sum(due <= self.now for due, _ in self.items)


ARRIVALS = st.lists(st.floats(0, 0.05), max_size=60)


@given(
    ARRIVALS, st.integers(1, 8), st.sampled_from([0.0, 0.001, 0.01]), st.floats(0, 0.01), st.sets(st.integers(0, 59))
)
def test_nothing_is_lost_doubled_reordered_or_held_too_long(arrivals, size, delay, run, cancelled) -> None:
    """Whoever is cancelled while waiting; no batch is too large; no call is held back longer than the delay."""
    times = sorted(arrivals)
    line = Line([(due, number) for number, due in enumerate(times)])
    collector = Collector(line, BatchPolicy(size, delay), lambda number: number not in cancelled, line.clock)
    taken: list[int] = []
    while True:
        before = line.waited
        batch = collector.take()
        if batch is None:
            break
        assert 1 <= len(batch) <= size
        assert line.waited - before <= delay + 1e-9
        taken += batch
        line.now += run
        collector.done(len(batch))
    assert taken == [number for number in range(len(times)) if number not in cancelled]


def test_a_client_alone_is_never_held_back() -> None:
    line = Line([])
    collector = Collector(line, BatchPolicy(16, 0.01), lambda _: True, line.clock)
    for number in range(50):
        line.items.append((line.now + 0.001, number))
        assert collector.take() == [number]
        line.now += 0.0001
        collector.done(1)
    assert line.waited == 0


def test_clients_that_were_there_are_waited_for_and_once_only_in_vain() -> None:
    line = Line([(0, number) for number in range(4)])
    collector = Collector(line, BatchPolicy(16, 0.01), lambda _: True, line.clock)
    assert collector.take() == [0, 1, 2, 3]
    collector.done(4)
    line.items.extend((line.now + 0.001 * number, number) for number in range(4))
    assert collector.take() == [0, 1, 2, 3]
    collector.done(4)
    line.items.append((line.now, "alone"))
    waited = line.waited
    assert collector.take() == ["alone"]
    assert 0.0099 < line.waited - waited < 0.0101
    collector.done(1)
    line.items.append((line.now, "again"))
    waited = line.waited
    assert collector.take() == ["again"]
    assert line.waited == waited


def test_the_end_is_passed_on() -> None:
    line = Line([(0, 1), (0, 2)])
    line.items.append((0, None))
    collector = Collector(line, BatchPolicy(16, 0.01), lambda _: True, line.clock)
    assert collector.take() == [1, 2]
    assert collector.take() is None
