"""Processes that outlive whoever started them: scorer instances, Envoy, the detached control plane.

Killing the control plane must stop nothing that serves, and its successor must adopt what runs instead of starting
it a second time. So a process is described by a folder on disk, not by an object in memory: :class:`Daemon` is a view
of that folder which any process may open at any time.

The standard library only, and light to import: the command line starts through here.
"""

from penstock.daemon.daemon import AlreadyRunningError, Daemon, DaemonState, DaemonStatus, StubbornError
from penstock.daemon.log import LogFile

__all__ = ["AlreadyRunningError", "Daemon", "DaemonState", "DaemonStatus", "LogFile", "StubbornError"]
