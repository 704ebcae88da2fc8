"""A worker as its supervisor sees it: a process, and the wire to it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable

from penstock_scorer.errors import WorkerDiedError
from penstock_scorer.supervision import worker as worker_process
from penstock_scorer.supervision.failure import Failure

_LAST_WORDS_S = 1.0
"""From a closed wire to the end of its process; then it is ended."""
_LOOK_S = 0.01
_LONGEST_MESSAGE = 1 << 20


class Child:
    """One worker's process.

    Args:
        index: Which worker it is.
        be: Called in the new process with its end of the wire; must not return.
        foreign: Descriptors of the supervisor's that are none of the worker's business.
    """

    def __init__(self, index: int, be: Callable[[socket.socket], None], foreign: Iterable[socket.socket] = ()) -> None:
        self.index = index
        self.ready = False
        self._message = b""
        self.wire, theirs = socket.socketpair()
        # What is in a buffer now would be printed twice.
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for end in (self.wire, *foreign):
                end.close()
            be(theirs)
        theirs.close()

    def say(self, word: bytes) -> None:
        """Send one of the wire's words; in vain where the process is dying, and reaping it will say why."""
        try:
            self.wire.sendall(word)
        except OSError:
            return

    def hear(self) -> bool:
        """Take what it says; whether it has just become ready."""
        try:
            said = self.wire.recv(_LONGEST_MESSAGE)
        except ConnectionResetError:
            said = b""
        if not said:
            # Closed: the process is ending; SIGCHLD follows, and until then select would spin on it.
            self._await_end()
        elif said == worker_process.READY and not self._message:
            self.ready = True
            return True
        else:
            self._message += said
        return False

    def reap(self) -> int | None:
        """Its exit code (below 0: the signal that ended it); None while it lives."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        self._hear_the_rest()
        self.wire.close()
        return os.waitstatus_to_exitcode(status)

    def terminate(self) -> None:
        """Ask it to drain."""
        self.say(worker_process.DRAIN)
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it now; it is still to be reaped."""
        os.kill(self.pid, signal.SIGKILL)

    def failure(self, code: int, script: str) -> Failure:
        """Why it could not load ``script``, after its end."""
        if self._message:
            return Failure.loads(self._message.decode())
        return Failure.of(WorkerDiedError(f"The process ended while it loaded {script} ({describe(code)})."))

    def _await_end(self) -> None:
        """A worker whose wire is closed is gone or as good as gone."""
        end = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < end:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(_LOOK_S)
        self.kill()

    def _hear_the_rest(self) -> None:
        self.wire.setblocking(False)
        while True:
            try:
                said = self.wire.recv(_LONGEST_MESSAGE)
            except (BlockingIOError, ConnectionResetError):
                return
            if not said:
                return
            self._message += said


def describe(code: int) -> str:
    """An exit code in words."""
    if code == worker_process.LEFT:
        return "it asked to be replaced"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
