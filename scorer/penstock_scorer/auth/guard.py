"""The policy in force: read from a file that may change, vanish or break at any time.

The file is looked at by the first request after ``interval`` has passed, not by a timer: one ``stat`` (about
2 us) per 200 ms is nothing, an idle scorer does no work, and a request never meets a policy older than that. A
credential that is unknown is looked for in the file once more before it is refused (not more often than each
10 ms, so that guessing costs us nothing): a key works as soon as it has been written.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from penstock_scorer.auth.errors import PolicyError
from penstock_scorer.auth.policy import Policy, bearer, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECOND_LOOK_S = 0.01
_log = logging.getLogger("penstock_scorer.auth")


class Guard:
    """Says who is calling.

    Until the file has been read once nobody gets in. Once it has, what was read stays in force while the file
    is away or broken (logged once), because a control plane that is down must not stop what serves.

    Args:
        path: The policy file (see :mod:`penstock_scorer.auth.policy`).
        clock: Seconds, monotonic.
        interval: Seconds between two looks at the file; a revoked credential works at most this long after
            the rename.
        wall: Seconds since 1970, for the times in tokens.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 0.2,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._clock = clock
        self._interval = interval
        self._wall = wall
        self._policy: Policy | None = None
        self._seen: tuple[int, int, int] | None = None
        self._complaint = ""
        self._next = clock()

    def client(self, authorization: str | None) -> str | None:
        """The client's name, or None when it must be refused (401)."""
        now = self._clock()
        if now >= self._next:
            self._refresh(now)
        credential = bearer(authorization)
        if credential is None:
            return None
        client = self._policy.verify(credential) if self._policy else None
        if client is None and now >= self._next - self._interval + _SECOND_LOOK_S:
            before = self._policy
            self._refresh(now)
            if self._policy is not None and self._policy is not before:
                client = self._policy.verify(credential)
        return client

    def _refresh(self, now: float) -> None:
        self._next = now + self._interval
        try:
            found = self._path.stat()
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if identity == self._seen:
                return
            policy = parse(self._path.read_bytes(), self._wall)
        except (OSError, PolicyError) as error:
            self._complain(str(error))
            return
        self._policy, self._seen = policy, identity
        if self._complaint:
            _log.warning("The authentication policy is readable again.")
            self._complaint = ""

    def _complain(self, problem: str) -> None:
        if problem != self._complaint:
            self._complaint = problem
            kept = "the one read before stays in force" if self._policy else "every request is refused until it is"
            _log.error("The authentication policy %s cannot be used: %s; %s.", self._path, problem, kept)
