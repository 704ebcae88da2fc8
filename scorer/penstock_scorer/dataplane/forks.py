"""A script's ``os.fork()`` whose child comes back out of ``run``.

The child then stands in the server's frames with the request of its parent in hand. It must answer nobody and serve
nothing: the transport's threads do not exist in it, its queue is a copy, and a parent that waits for it would wait for
ever. So it ends where it would answer. Children that exec, exit or are ``multiprocessing``'s never get there.
"""

from __future__ import annotations

import os
import sys

_forked = False


def watch() -> None:
    """From now on, know the children of this process from the process itself."""
    os.register_at_fork(after_in_child=_mark)


def end_if_forked() -> None:
    """End this process, with 0, if it is a child of the one that took the request."""
    if _forked:
        print("penstock-scorer: run() returned in a process that it forked; that process ends.", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _mark() -> None:
    global _forked  # noqa: PLW0603 - a fact about the process
    _forked = True
