"""What is said to a person, all of it on stderr: progress, notes, errors.

Progress appears only when something takes longer than a second. On a terminal it is one line that changes; elsewhere,
as in a CI log, it is one plain line whenever it says something new.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from penstock.errors import ManifestError, PenstockError

QUIET_SECONDS = 1.0
"""What ends sooner shows no progress."""


class Console:
    """A stream for people. ``quiet`` leaves out everything but errors."""

    def __init__(self, stream: TextIO, *, quiet: bool = False, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._stream = stream
        self._quiet = quiet
        self._quiet_seconds = quiet_seconds

    @property
    def interactive(self) -> bool:
        """Whether a person sits in front of it."""
        return self._stream.isatty()

    def note(self, text: str) -> None:
        """Something worth knowing that is no mistake."""
        if not self._quiet:
            self._say(f"note: {text}")

    def done(self, text: str) -> None:
        """Something that was achieved."""
        if not self._quiet:
            self._say(text)

    def ask(self, question: str) -> None:
        """A question, whose answer is read from stdin."""
        self._stream.write(question)
        self._stream.flush()

    def error(self, error: PenstockError) -> None:
        """Why the command failed: one sentence, the hint, then what is behind it."""
        if isinstance(error, ManifestError):
            self._say(str(error))
            count = len(error.problems)
            self._say(f"error: {count} mistake{'s' * (count != 1)}, and nothing was sent")
        else:
            self._say(f"error: {error}")
        if error.hint:
            self._say(f"hint: {error.hint}")
        if error.detail:
            self._say("\n".join(f"  | {line}" for line in error.detail.rstrip().splitlines()))

    def failed(self, text: str) -> None:
        """A failure that is no :class:`PenstockError`."""
        self._say(f"error: {text}")

    @contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """Progress of ``what`` while the block runs; call what it yields with one line whenever there is news."""
        if self._quiet:
            yield lambda _: None
            return
        progress = _Spinner(what) if self.interactive else _Lines(what, self._say)
        timer = threading.Timer(self._quiet_seconds, progress.appear)
        timer.daemon = True
        timer.start()
        try:
            yield progress.tell
        finally:
            timer.cancel()
            timer.join()
            progress.end()

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class _Lines:
    """Plain lines, for what is no terminal."""

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self._what = what
        self._say = say
        self._visible = False
        self._latest = ""
        self._lock = threading.Lock()

    def appear(self) -> None:
        with self._lock:
            self._visible = True
            self._say(self._line())

    def tell(self, news: str) -> None:
        with self._lock:
            if news != self._latest:
                self._latest = news
                if self._visible:
                    self._say(self._line())

    def end(self) -> None:
        """Nothing to take back."""

    def _line(self) -> str:
        return f"{self._what}: {self._latest}" if self._latest else f"{self._what} ..."


class _Spinner:
    """One line that changes, on a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._latest = ""
        self._status: _Status | None = None

    def appear(self) -> None:
        self._status = _Status(self._line())

    def tell(self, news: str) -> None:
        self._latest = news
        if self._status is not None:
            self._status.show(self._line())

    def end(self) -> None:
        if self._status is not None:
            self._status.stop()

    def _line(self) -> str:
        return f"{self._what}: {self._latest}" if self._latest else self._what


class _Status:
    """rich's spinner, imported once it is needed: that takes 60 ms."""

    def __init__(self, line: str) -> None:
        from rich.console import Console as RichConsole  # noqa: PLC0415
        from rich.markup import escape  # noqa: PLC0415

        self._escape = escape
        self._status = RichConsole(stderr=True).status(escape(line))
        self._status.start()

    def show(self, line: str) -> None:
        self._status.update(self._escape(line))

    def stop(self) -> None:
        self._status.stop()
