"""Why an instance ended, in the words of whoever knows best: the scorer, the log, or the kernel."""

from __future__ import annotations

import json
import signal

from controlplane.backends.process.failures import end_of
from controlplane.backends.process.instance_files import InstanceFiles
from controlplane.domain.instances import InstanceFailure
from penstock.daemon import LogFile

_LAST_LINES = 40
_HINTS = {
    signal.SIGKILL: ", perhaps because the machine ran out of memory",
    signal.SIGSEGV: ": native code in one of its packages crashed",
    signal.SIGABRT: ": native code in one of its packages gave up",
    signal.SIGILL: ": one of its packages was built for another processor",
}


def post_mortem(files: InstanceFiles, exit_code: int | None) -> InstanceFailure:
    """The failure of an instance that has ended; ``exit_code`` is negative for a signal."""
    if (exit_code is None or exit_code > 0) and (told := _told_by_the_scorer(files)) is not None:
        return told
    lines, _ = LogFile(files.log).tail(_LAST_LINES)
    detail = end_of("\n".join(line.decode(errors="replace") for line in lines))
    if exit_code is None:
        return InstanceFailure("Exited", "it ended while nobody watched, so its exit code is not known", detail)
    if exit_code < 0:
        return InstanceFailure("Killed", f"it was killed by signal {_signal(-exit_code)}", detail)
    return InstanceFailure("Exited", f"it exited with code {exit_code} without being asked to", detail)


def _signal(number: int) -> str:
    try:
        known = signal.Signals(number)
    except ValueError:
        return str(number)
    return f"{number} ({known.name}){_HINTS.get(known, '')}"


def _told_by_the_scorer(files: InstanceFiles) -> InstanceFailure | None:
    try:
        told = json.loads(files.failure.read_bytes())
        return InstanceFailure(str(told["reason"]), str(told["message"]), end_of(str(told.get("traceback") or "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
