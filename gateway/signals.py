"""Everything the gateways tell the control plane while they serve, in one place."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from gateway.access_logs import AccessLogs
from gateway.load_reports import LoadReports


class Signals:
    """Load (what is going on) and requests (what went on), by deployment."""

    def __init__(self, knows: Callable[[str, str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """``knows`` is :meth:`gateway.router.EnvoyRouter.knows`; ``clock`` is for tests."""
        self.load = LoadReports(knows, clock)
        self.requests = AccessLogs(knows, clock)

    def services(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """What Envoys call, for :meth:`gateway.router.EnvoyRouter.start`."""
        return self.load.service(), self.requests.service()

    def prune(self) -> None:
        """Forget what was removed. Call it every few seconds: memory is bounded by what exists, and by this."""
        self.load.prune()
        self.requests.prune()
