"""The queue whose consumer polls: as a queue, and who polls when."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.dataplane import inbox as module
from penstock_scorer.dataplane.inbox import Inbox


class Polled:
    """A transport: what it is told to do it does in the next poll, in the thread that polls."""

    def __init__(self) -> None:
        self.todo: deque[Callable[[], None]] = deque()
        self.pollers: list[str] = []
        self.turns: list[bool] = []
        self.releases = 0
        self.polling = threading.Event()
        self._bell = threading.Event()

    def poll(self, timeout: float | None) -> None:
        self.pollers.append(threading.current_thread().name)
        self.polling.set()
        self._bell.wait(timeout)
        self._bell.clear()
        while self.todo:
            self.todo.popleft()()

    def wake(self) -> None:
        self._bell.set()

    def turn(self, *, more: bool) -> None:
        self.turns.append(more)

    def release(self) -> None:
        self.releases += 1

    def happen(self, what: Callable[[], None]) -> None:
        self.todo.append(what)
        self._bell.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


@given(st.lists(st.one_of(st.integers(), st.just("take"), st.just("size"))), st.booleans())
def test_alone_it_is_a_queue(steps, served):
    inbox, model = Inbox(), deque()
    if served:
        inbox._poller = Polled()
    for step in steps:
        if step == "take":
            if model:
                assert inbox.get() == model.popleft()
            else:
                with pytest.raises(Empty):
                    inbox.get(block=False)
                with pytest.raises(Empty):
                    inbox.get(timeout=0)
        elif step == "size":
            assert inbox.qsize() == len(model)
        else:
            inbox.put(step)
            model.append(step)


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_is_lost_and_the_order_of_each_is_kept(served, threads):
    inbox: Inbox[tuple[int, int]] = Inbox()
    if served:
        inbox.serve(Polled())
    count = 500
    for thread in range(threads):
        threading.Thread(
            target=lambda thread=thread: [inbox.put((thread, number)) for number in range(count)], daemon=True
        ).start()
    taken = [inbox.get(timeout=10) for _ in range(threads * count)]
    for thread in range(threads):
        assert [number for whose, number in taken if whose == thread] == list(range(count))
    assert inbox.qsize() == 0


def test_back_and_forth_no_wake_up_is_lost():
    """One item at a time: each must wake the one that waits for it."""
    inbox, answers = Inbox(), Inbox()
    inbox.serve(Polled())

    def answer() -> None:
        while (item := inbox.get()) is not None:
            answers.put(item)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    for number in range(2000):
        inbox.put(number)
        assert answers.get(timeout=10) == number
    inbox.put(None)
    thread.join(10)
    assert not thread.is_alive()


def test_waiting_ends_with_the_time():
    inbox = Inbox()
    inbox.serve(Polled())
    with pytest.raises(Empty):
        inbox.get(timeout=0.001)


def test_a_consumer_that_waits_before_there_is_a_transport():
    inbox, polled, taken = Inbox(), Polled(), []
    thread = threading.Thread(target=lambda: taken.append(inbox.get()), name="consumer", daemon=True)
    thread.start()
    until(lambda: inbox._waiting)
    inbox.serve(polled)
    assert polled.polling.wait(10)
    polled.happen(lambda: inbox.put(1))
    thread.join(10)
    assert (taken, polled.pollers[0]) == ([1], "consumer")


class TestDeputy:
    def test_takes_over_while_the_consumer_is_busy_and_gives_back(self):
        inbox, polled, release, taken = Inbox(), Polled(), threading.Event(), []

        def consume() -> None:
            while (item := inbox.get()) is not None:
                taken.append(item)
                if item == "long":
                    release.wait(10)

        thread = threading.Thread(target=consume, name="consumer", daemon=True)
        thread.start()
        inbox.serve(polled)
        inbox.put("long")
        until(lambda: polled.pollers[-1:] == ["scorer-deputy"])
        # It reads for the one that is busy.
        polled.happen(lambda: inbox.put("short"))
        until(lambda: inbox.qsize() == 1)
        release.set()
        until(lambda: taken == ["long", "short"])
        until(lambda: polled.pollers[-1] == "consumer")
        polled.happen(lambda: inbox.put("last"))
        until(lambda: taken == ["long", "short", "last"])
        inbox.put(None)
        thread.join(10)
        assert not thread.is_alive()

    def test_polls_now_and_then_for_a_consumer_that_is_never_done(self):
        """One quick job after the other, from elsewhere: the transport must not be forgotten."""
        inbox, polled, heard = Inbox(), Polled(), threading.Event()

        def consume() -> None:
            while (item := inbox.get()) is not None:
                if not heard.is_set():
                    inbox.put(item)
                    threading.Event().wait(0.0005)

        for _ in range(3):
            inbox.put("job")
        inbox.serve(polled)
        polled.happen(heard.set)
        thread = threading.Thread(target=consume, name="consumer", daemon=True)
        thread.start()
        assert heard.wait(10)
        inbox.put(None)
        thread.join(10)
        assert not thread.is_alive()

    def test_does_not_sleep_past_the_job_that_should_have_woken_it(self, monkeypatch):
        inbox: Inbox[int] = Inbox()
        inbox.put(1)
        looked = inbox._takes
        # Taken after the deputy's look, before it is seen to sleep: nobody rouses it.
        inbox.get()
        slept = threading.Thread(target=inbox._sleep, args=(looked,), daemon=True)
        slept.start()
        slept.join(10)
        assert not slept.is_alive()

    def test_sleeps_while_nothing_happens_and_wakes_with_the_next(self, monkeypatch):
        monkeypatch.setattr(module, "_MOMENT_S", 0.0005)
        inbox, polled, release = Inbox(), Polled(), threading.Event()

        def consume() -> None:
            while inbox.get() is not None:
                release.wait(10)

        thread = threading.Thread(target=consume, name="consumer", daemon=True)
        thread.start()
        inbox.serve(polled)
        until(lambda: inbox._asleep)
        inbox.put(1)
        until(lambda: polled.pollers[-1] == "scorer-deputy")
        release.set()
        inbox.put(None)
        thread.join(10)
        assert not thread.is_alive()
