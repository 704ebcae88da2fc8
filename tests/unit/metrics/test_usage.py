from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from controlplane.metrics.usage import Reading, UsageMeter, read_sessions

SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, session: int, times: tuple[int, int, int, int], *, rss: int, name: str = "x") -> None:
    (proc / str(pid)).mkdir()
    before, between = "0 " * 7, "0 " * 6
    text = f"{pid} ({name}) S 1 {session} {session} {before}{' '.join(map(str, times))} {between}{rss} 0 0\n"
    (proc / str(pid) / "stat").write_text(text)


def test_a_session_is_all_its_processes(tmp_path: Path) -> None:
    process(tmp_path, 10, 10, (100, 10, 5, 1), rss=50)
    process(tmp_path, 11, 10, (200, 20, 0, 0), rss=70, name="a) S 1 99 99 (b")
    process(tmp_path, 20, 20, (7, 0, 0, 0), rss=1)
    (tmp_path / "30").mkdir()
    (tmp_path / "self").mkdir()
    assert read_sessions({10, 30, 40}, tmp_path) == {10: Reading(336, 120)}
    assert read_sessions((), tmp_path / "nothing") == {}


def test_our_own_session_is_read_from_the_real_proc() -> None:
    reading = read_sessions({os.getsid(0)})[os.getsid(0)]
    assert reading.pages * PAGE > 1 << 20


class Sessions:
    def __init__(self, **readings: tuple[int, int]) -> None:
        self.now = readings

    def __call__(self, wanted: Collection[int]) -> Mapping[int, Reading]:
        return {pid: Reading(*self.now[f"p{pid}"]) for pid in wanted if f"p{pid}" in self.now}


def test_percent_is_of_the_machine_between_two_measurements() -> None:
    sessions = Sessions(p1=(10 * SECOND, 100))
    meter = UsageMeter(sessions, processors=4, memory_bytes=1000 * PAGE)
    meter.take({"one": 1}, now=50.0)
    first = meter.usage("one")
    assert first is not None
    assert (first.cpu_seconds, first.cpu_percent, first.memory_percent) == (10.0, None, 10.0)
    sessions.now = {"p1": (20 * SECOND, 200)}
    meter.take({"one": 1}, now=55.0)
    second = meter.usage("one")
    assert second is not None
    assert (second.cpu_seconds, second.cpu_percent) == (20.0, pytest.approx(50.0))
    assert (second.memory_bytes, second.memory_percent) == (200 * PAGE, 20.0)
    sessions.now = {"p1": (1, 200)}
    meter.take({"one": 1}, now=60.0)
    fallen = meter.usage("one")
    assert fallen is not None
    assert fallen.cpu_percent == 0.0, "a worker nobody waited for"


def test_what_ended_is_forgotten() -> None:
    sessions = Sessions(p1=(1, 1))
    meter = UsageMeter(sessions)
    meter.take({"one": 1, "never": 2}, now=1.0)
    assert meter.usage("never") is None
    sessions.now = {}
    meter.take({"one": 1}, now=2.0)
    assert meter.usage("one") is None
    meter.take({}, now=3.0)
    assert meter.usage("one") is None
