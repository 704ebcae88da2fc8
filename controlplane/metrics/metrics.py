"""The metrics as the composition root sees them: something that is started, read, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from controlplane.metrics.page import page
from controlplane.metrics.reader import MetricsReader
from controlplane.metrics.server import PATH, MetricsServer

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"


class MetricsPortInUseError(Exception):
    """The port that was asked for is taken."""

    reason = "PortInUse"
    hint = "Stop what holds it, choose another by PENSTOCK_METRICS_PORT, or 0 for no metrics page."


class Metrics:
    """Measures, and serves the Prometheus page on loopback."""

    def __init__(self, reader: MetricsReader) -> None:
        self._reader = reader
        self._server = MetricsServer(self._page)
        self._task: asyncio.Task[None] | None = None
        self.uri = ""
        """Where the page is; empty when there is none."""

    async def start(self, port: int, *, insist: bool) -> None:
        """Serve on ``port`` (0: no page, figures are kept for the API all the same).

        Raises:
            MetricsPortInUseError: it is taken, and ``insist``; else the platform goes without the page.
        """
        if port:
            try:
                self.uri = f"http://{HOST}:{await self._server.start(HOST, port)}{PATH}"
            except OSError as error:
                if insist:
                    raise MetricsPortInUseError(
                        f"{HOST}:{port} cannot be used for the metrics page: another program listens there"
                    ) from error
                log.warning("the metrics page is not served: its default port is taken", port=port)
        self._task = asyncio.create_task(self._reader.run(), name="metrics")

    async def close(self) -> None:
        """Stop; does nothing before the start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._server.close()

    async def _page(self) -> Iterable[str]:
        return page(await self._reader.platform())
