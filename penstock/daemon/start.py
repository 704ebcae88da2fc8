"""Two ways to start a program as the leader of a session of its own: as our child, and as nobody's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = """\
import os, sys, time
parent = os.getpid()
child = os.fork()
if child:
    os.write(1, b"%d" % child)
    os._exit(0)
os.dup2(2, 1)
os.setsid()
while os.getppid() == parent:
    time.sleep(0.001)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes the program once its parent has gone; from then on nobody's end is its parent's."""


def start_child(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, output: int, inherited: int) -> int:
    """Start ``argv`` with ``output`` for its words and the descriptor ``inherited`` open; returns its pid.

    Raises:
        OSError: the program or ``cwd`` does not exist, ...; nothing runs then.
    """
    child = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=(inherited,),
    )
    # It is waited for by `Daemon.status`, maybe in another object; Popen must neither reap it nor warn.
    child.returncode = 0
    return child.pid


def start_orphan(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, output: int, inherited: int) -> int:
    """As :func:`start_child`, by way of a process that is gone before the program begins.

    For a program that asks the kernel to be ended with its parent. Whoever launches it may be killed at any moment
    then: the program is found by what it inherited.
    """
    if not os.access(argv[0], os.X_OK):
        raise FileNotFoundError(errno.ENOENT, "No such program", argv[0])
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *argv],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        pass_fds=(inherited,),
        check=False,
    )
    if told.returncode != 0:
        raise OSError(errno.EAGAIN, "No process could be made", argv[0])
    return int(told.stdout)
