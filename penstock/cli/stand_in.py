"""The stand-in for a control plane that is away, as a process and files on this machine."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.cli.machine import Machine, cause
from penstock.daemon import AlreadyRunningError, Daemon, DaemonState
from penstock.errors import PlatformError

START_SECONDS = 30.0
_POLL_SECONDS = 0.05


class StandIn:
    """The stand-in for the platform whose state lies in ``home``."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._daemon = Daemon(home / "stand-in")
        self._note = home / "gateway" / "stand-in.json"

    def platform_answers(self) -> bool:
        """Whether the control plane is not away."""
        return Machine(self._home).running() is not None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> dict[str, Any]:
        """Start it detached, and return what it tells once it serves.

        Raises:
            PlatformError: it runs already, or it ended; the message is its last word.
        """
        log = self._home / "logs" / "stand-in.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._note.unlink(missing_ok=True)
            begun = log.stat().st_size if log.exists() else 0
            self._daemon.launch(argv, env=environment, cwd=self._home, log=log)
        except AlreadyRunningError as error:
            raise PlatformError(f"the gateway was started already (process {error.pid})") from None
        except OSError as error:
            raise PlatformError(f"the gateway cannot be started: {error.strerror or error}") from None
        deadline = time.monotonic() + START_SECONDS
        while self._daemon.status().state is DaemonState.RUNNING:
            with contextlib.suppress(OSError, ValueError):
                found: dict[str, Any] = json.loads(self._note.read_bytes())
                return found
            if time.monotonic() > deadline:
                self._daemon.stop(1.0)
                break
            say("waiting for the gateway")
            time.sleep(_POLL_SECONDS)
        told = log.read_bytes()[begun:].decode(errors="replace")
        sentence, detail = cause(told, "the gateway ended while it started")
        raise PlatformError(sentence, detail=detail)
