"""A listener that shows a renewed certificate without ending a connection anybody uses.

granian reads its certificate once. So a second granian takes over the same socket with the new files, and the first
goes: for a while it answers each request with ``connection: close``, so that clients come back to the second by
themselves; then it is drained, when nobody has used what is still open for longer than clients keep it. A connection
in the midst of its handshake is closed then: nothing was sent on it, and whoever opened it opens another.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from penstock_scorer.errors import SettingsError
from penstock_scorer.http.listener import Listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from penstock_scorer.http.listener import Request
    from penstock_scorer.supervision.tls import TlsFiles

_LOOK_S = 1.0
_LEAVING_S = 65.0
"""Penstock's gateway closes what it has not used for 60 s."""
_log = logging.getLogger("penstock_scorer.http")


class RenewingListener:
    """As :class:`penstock_scorer.http.listener.Listener`, with TLS by ``tls``, whose files may be replaced at any time.

    Raises:
        SettingsError: the files cannot be used.
    """

    def __init__(
        self,
        listener: socket.socket,
        handle: Callable[[Request], None],
        too_large: Callable[[Request, int], None],
        limit: int,
        tls: TlsFiles,
        *,
        streams: int = 0,
        look_s: float = _LOOK_S,
        leaving_s: float = _LEAVING_S,
    ) -> None:
        self._make: Callable[[], Listener] = partial(
            Listener, listener, handle, too_large, limit, streams=streams, tls=tls
        )
        self._tls = tls
        self._look_s, self._leaving_s = look_s, leaving_s
        self._lock = threading.Lock()
        self._seen = tls.identity()
        self._told = self._seen
        self._expires = tls.check()
        self._present = self._make()
        self._open = {self._present}
        """Those that have not ended, the leaving ones included."""
        self._draining: set[Listener] = set()
        self._ending = threading.Event()
        self._done: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Accept connections from now on, and look after the files."""
        self._present.start()
        threading.Thread(target=self._watch, name="scorer-tls", daemon=True).start()

    def leave(self) -> None:
        """Close each connection behind the next answer on it."""
        with self._lock:
            for each in self._open:
                each.leave()

    def drain(self, done: Callable[[], None]) -> None:
        """Stop accepting, let what is in flight finish, then call ``done``."""
        with self._lock:
            self._done = done
            self._ending.set()
            left = self._open - self._draining
        for each in left:
            each.drain(partial(self._ended, each))

    def _watch(self) -> None:
        while not self._ending.wait(self._look_s):
            seen = self._tls.identity()
            if seen != self._seen:
                try:
                    self._renew(seen)
                except Exception as error:  # noqa: BLE001 - no descriptor is left, say: it is tried again
                    if seen != self._told:
                        self._told = seen
                        _log.warning("The new certificate is not shown yet, the present one stays: %s", error)

    def _renew(self, seen: tuple[tuple[int, int, int], ...]) -> None:
        try:
            expires = self._tls.check()
        except SettingsError as error:
            if seen != self._told:
                self._told = seen
                _log.warning("The new certificate cannot be used, the present one stays: %s", error)
            return
        with self._lock:
            if self._ending.is_set():
                return
            former, self._present = self._present, self._make()
            self._open.add(self._present)
            self._present.start()
            former.leave()
            # It shows the former certificate all the while.
            patience = max(0.0, min(self._leaving_s, (self._expires - time.time()) / 2))
            self._seen, self._expires = seen, expires
        _log.info("Showing a renewed certificate.")
        timer = threading.Timer(patience, self._let_go, (former,))
        timer.daemon = True
        timer.start()

    def _let_go(self, former: Listener) -> None:
        with self._lock:
            if self._ending.is_set():
                return
            self._draining.add(former)
        former.drain(partial(self._ended, former))

    def _ended(self, listener: Listener) -> None:
        with self._lock:
            self._open.discard(listener)
            self._draining.discard(listener)
            over = self._ending.is_set() and not self._open
        if over:
            self._done()
