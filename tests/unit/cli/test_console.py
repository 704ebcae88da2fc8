from __future__ import annotations

import io
import threading

import pytest

from penstock.cli.console import Console
from penstock.errors import ManifestError, PenstockError, Position, Problem


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_ends_soon_shows_no_progress() -> None:
    stream = io.StringIO()
    with Console(stream, quiet_seconds=60).working("creating") as say:
        say("building")
    assert stream.getvalue() == ""


def test_what_takes_longer_says_each_news_once() -> None:
    class Heard(io.StringIO):
        def write(self, text: str) -> int:
            heard.set()
            return super().write(text)

    heard, stream = threading.Event(), Heard()
    with Console(stream, quiet_seconds=0).working("creating") as say:
        assert heard.wait(10)
        for news in ("building", "building", "starting"):
            say(news)
    assert stream.getvalue() == "creating ...\ncreating: building\ncreating: starting\n"


def test_quiet_says_errors_only() -> None:
    stream = io.StringIO()
    console = Console(stream, quiet=True, quiet_seconds=0)
    console.note("n")
    console.done("d")
    with console.working("w") as say:
        say("x")
    console.error(PenstockError("e"))
    assert stream.getvalue() == "error: e\n"


def test_an_error_is_a_sentence_a_hint_and_what_is_behind_it() -> None:
    stream = io.StringIO()
    Console(stream).error(PenstockError("it failed", hint="do this", detail="line 1\n\nline 2\n"))
    assert stream.getvalue() == "error: it failed\nhint: do this\n  | line 1\n  | \n  | line 2\n"


@pytest.mark.parametrize(("count", "said"), [(1, "1 mistake,"), (2, "2 mistakes,")])
def test_mistakes_in_a_file_come_first(count: int, said: str) -> None:
    stream = io.StringIO()
    problems = [Problem(Position("f.yml", line, 1), "wrong") for line in range(1, count + 1)]
    Console(stream).error(ManifestError(problems))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "f.yml:1:1: wrong"
    assert lines[-1] == f"error: {said} and nothing was sent"


def test_a_terminal_gets_a_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    appeared = threading.Event()

    class Status:
        def __init__(self, line: str) -> None:
            shown.append(line)
            appeared.set()

        def show(self, line: str) -> None:
            shown.append(line)

        def stop(self) -> None:
            shown.append("stopped")

    monkeypatch.setattr("penstock.cli.console._Status", Status)
    with Console(Terminal(), quiet_seconds=0).working("creating") as say:
        assert appeared.wait(10)
        say("building [x]")
    assert shown[0] == "creating"
    assert shown[-2:] == ["creating: building [x]", "stopped"]
