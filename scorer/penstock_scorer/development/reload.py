"""``--reload``: serve, and start again when a file of the script's changes.

The scorer runs in a child, so that a change starts from a clean process: no half-reloaded module, no thread of
the old script's. A script that does not load is not the end: its traceback is on stderr, and the next change
tries again. Files are looked at twice a second; that costs one ``stat`` each and no dependency.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from penstock_scorer.supervision.worker import die_with

INTERVAL_S = 0.5
_GRACE_S = 5.0
"""For requests in flight when a file has changed; then the old process is killed."""
_SUFFIXES = (".py", ".json", ".yml", ".yaml", ".toml")
_SKIPPED = ("__pycache__", "node_modules", "venv", "site-packages")
_MOST_FILES = 5000

Snapshot = dict[str, tuple[int, int]]


def snapshot(folders: tuple[Path, ...]) -> Snapshot:
    """Time and size of every source file below ``folders``; hidden folders and environments left out."""
    found: Snapshot = {}
    for folder in folders:
        for path in _files(str(folder)):
            try:
                state = os.stat(path)  # noqa: PTH116 - thousands of them, twice a second
            except OSError:
                continue
            found[path] = (state.st_mtime_ns, state.st_size)
            if len(found) >= _MOST_FILES:
                return found
    return found


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """Files that came, went or changed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


class Reloader:
    """Runs ``serve`` in a child process, again and again.

    Args:
        serve: Serves until SIGTERM and returns the exit code.
        folders: What to look at.
    """

    def __init__(self, serve: Callable[[], int], folders: tuple[Path, ...]) -> None:
        self._serve = serve
        self._folders = folders
        self._wake, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)

    def run(self) -> int:
        """Until SIGTERM or SIGINT; returns 0, or the child's exit code where it failed meanwhile."""
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        seen = snapshot(self._folders)
        child = self._start()
        while True:
            if select.select([self._wake], [], [], INTERVAL_S)[0]:
                return self._stop(child)
            if child and (code := _ended(child)) is not None:
                child = 0
                _say(f"The scorer ended (exit code {code}); it starts again when a file changes.")
            now = snapshot(self._folders)
            if now != seen:
                names = ", ".join(Path(path).name for path in changed(seen, now)[:5])
                _say(f"Changed: {names}. Starting again.")
                self._stop(child)
                # What changed while the old one drained is in the new one already.
                seen = snapshot(self._folders)
                child = self._start()

    def _start(self) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                die_with(parent)
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                self._wake.close()
                self._wake_writer.close()
                code = self._serve()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        return pid

    @staticmethod
    def _stop(child: int) -> int:
        if not child:
            return 0
        os.kill(child, signal.SIGTERM)
        end = time.monotonic() + _GRACE_S
        while time.monotonic() < end:
            code = _ended(child)
            if code is not None:
                return code
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 0


def _files(folder: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.name.endswith(_SUFFIXES):
            yield entry.path


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _say(text: str) -> None:
    print(f"penstock-scorer: {text}", file=sys.stderr, flush=True)  # noqa: T201
