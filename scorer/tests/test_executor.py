"""Queue and limits, with a clock that is turned by hand."""

import threading
from typing import Any

import pytest
from penstock_scorer.dataplane import slot as slot_module
from penstock_scorer.dataplane.executor import Executor
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import Handlers, Limits, ScoringTimeoutError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An executor whose handlers note what happened."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.ran, self.late, self.waited, self.overdue, self.stuck, self.watched, self.gone = [], [], [], [], [], [], []
        self.run = self.ran.append
        handlers = Handlers(
            run=lambda jobs, _slot: [self.run(job) for job in jobs],
            late=lambda job, _slot: self.late.append(job),
            waited=self.waited.append,
            watch=self.watched.append,
            gone=self.gone.append,
            overdue=self.overdue.append,
            stuck=lambda: self.stuck.append(True),
        )
        self.executor = Executor(Limits(**limits), handlers, self.clock)

    def job(self, deadline: float | None = None) -> Job:
        return Job(None, "POST", "/score", "", "", list, [], self.clock.now, deadline)

    def submit(self, count: int = 1, **options: Any) -> tuple[list[Job], list[bool]]:
        jobs = [self.job(**options) for _ in range(count)]
        return jobs, [self.executor.submit(job) for job in jobs]

    def work(self) -> None:
        self.executor._queue.put(None)
        self.executor.work()


def test_jobs_run_in_order_and_are_counted() -> None:
    bench = Bench()
    jobs, taken = bench.submit(5)
    assert all(taken)
    assert bench.executor.in_flight == 5
    bench.work()
    assert bench.ran == jobs
    assert bench.executor.in_flight == 0


def test_no_more_than_the_slots_and_the_queue_are_taken() -> None:
    bench = Bench(slots=2, max_queue=3)
    assert bench.submit(7)[1] == [True] * 5 + [False] * 2
    bench.work()
    assert bench.submit(1)[1] == [True]


def test_without_waiting_a_slot_must_be_free() -> None:
    bench = Bench(slots=2, max_wait=0, max_queue=3)
    assert bench.submit(3)[1] == [True, True, False]


def test_what_waited_too_long_is_given_up_exactly_once() -> None:
    bench = Bench(max_wait=0.5, watch_after=9)
    (taken,), _ = bench.submit(1)  # the slot is free for it: it does not wait
    first, _ = bench.submit(2)
    bench.clock.now = 0.3
    second, _ = bench.submit(1)
    assert bench.executor.look() == pytest.approx(0.2)
    bench.clock.now = 0.5
    assert bench.executor.look() == pytest.approx(0.3)
    assert bench.waited == first
    bench.work()
    assert bench.ran == [taken, *second]
    bench.clock.now = 9
    bench.executor.look()
    assert bench.waited == first
    assert bench.executor.in_flight == 0


def test_work_whose_caller_is_late_is_not_started() -> None:
    bench = Bench()
    (late,), _ = bench.submit(1, deadline=1.0)
    (good,), _ = bench.submit(1, deadline=3.0)
    bench.clock.now = 2.0
    bench.work()
    assert (bench.late, bench.ran) == ([late], [good])
    assert bench.executor.in_flight == 0


def test_a_run_that_takes_too_long_is_interrupted_and_the_next_one_runs() -> None:
    bench = Bench(timeout=1.0, watch_after=9)
    started = threading.Event()
    interrupted = []

    def spin(job: Any) -> None:
        if not interrupted:
            started.set()
            try:
                while True:
                    threading.Event().wait(0.001)
            except TimeoutError:
                interrupted.append(job)
                raise
        bench.ran.append(job)

    bench.run = spin
    jobs, _ = bench.submit(2)
    thread = threading.Thread(target=bench.work)
    thread.start()
    assert started.wait(5)
    assert bench.executor.look() == pytest.approx(1.0)
    bench.clock.now = 1.5
    bench.executor.look()
    thread.join(5)
    assert not thread.is_alive()
    assert (interrupted, bench.ran, bench.overdue) == ([jobs[0]], [jobs[1]], [jobs[0]])


def test_a_run_that_cannot_be_interrupted_gives_the_worker_up() -> None:
    bench = Bench(timeout=1.0, stuck_after=2.0)
    started, release = threading.Event(), threading.Event()

    def block(_job: Any) -> None:
        started.set()
        release.wait(20)

    bench.run = block
    bench.submit(1)
    thread = threading.Thread(target=bench.work)
    thread.start()
    assert started.wait(5)
    bench.clock.now = 1.5
    bench.executor.look()
    bench.clock.now = 3.0
    assert not bench.stuck
    bench.executor.look()
    bench.clock.now = 3.6
    bench.executor.look()
    assert bench.stuck == [True]
    release.set()
    thread.join(5)
    assert bench.executor.in_flight == 0


def test_a_job_is_answered_once() -> None:
    job = Bench().job()
    assert [job.take_answer(), job.take_answer()] == [True, False]
    assert [job.start(), job.start()] == [True, False]


@pytest.mark.parametrize("answered", [False, True])
def test_only_the_script_is_interrupted_not_the_sending_of_its_answer(monkeypatch, answered):
    raised: list[Any] = []
    monkeypatch.setattr(slot_module, "raise_in", lambda _thread, error: raised.append(error))
    bench = Bench(timeout=1.0, stuck_after=2.0)

    def run(_job: Job) -> None:
        if answered:
            bench.executor.release(0)
        bench.clock.now += 1.5
        bench.executor.look()

    bench.run = run
    bench.submit()
    bench.work()
    assert (ScoringTimeoutError in raised) is not answered


def test_a_script_that_does_not_end_behind_its_answer_gives_the_worker_up():
    bench = Bench(timeout=1.0, stuck_after=2.0)

    def run(_job: Job) -> None:
        bench.executor.release(0)
        for _ in range(2):
            bench.clock.now += 2.5
            bench.executor.look()

    bench.run = run
    bench.submit()
    bench.work()
    assert bench.stuck == [True]
