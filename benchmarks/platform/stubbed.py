"""A control plane whose instances are one stub: ``python -m benchmarks.platform.stubbed SOCKET``.

Everything else is real: store, API, reconcilers, ADS, Envoy. So thousands of endpoints fit on a small machine.
"""

# ruff: noqa: ARG002 - a stub ignores most of what it is told
from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime

from controlplane.domain.instances import InstanceObservation, InstanceState, InstanceTemplate
from controlplane.domain.ports import AuthPolicy, LogKind, LogLines, Preparation
from controlplane.logging import configure_logging
from controlplane.server import ControlPlane
from controlplane.settings import LogFormat, LogLevel, Settings, process_environment


class StubBackend:
    """Every instance answers at once, at the same socket."""

    def __init__(self, socket: str) -> None:
        self._address = f"unix://{socket}"
        self._seen: dict[str, InstanceObservation] = {}
        self._listeners: list[Callable[[str], None]] = []

    def check(self, template: InstanceTemplate) -> None:
        """Anything goes."""

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        """Nothing to do."""
        return Preparation("stub")

    async def start(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> None:
        """It is there."""
        now = datetime.now(UTC)
        self._see(
            instance,
            InstanceObservation(
                instance, InstanceState.READY, template.hash, self._address, started=now, ready_since=now
            ),
        )

    async def stop(self, instance: str, grace_seconds: float) -> None:
        """It is gone."""
        if self._seen.pop(instance, None) is not None:
            self._tell(instance)

    async def observe(self) -> Mapping[str, InstanceObservation]:
        """All of them."""
        return dict(self._seen)

    async def apply_policy(self, policy: AuthPolicy) -> None:
        """The stub lets everybody in."""

    def on_change(self, listener: Callable[[str], None]) -> None:
        """As the port says."""
        self._listeners.append(listener)

    async def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        """None."""
        for instance in instances:
            yield LogLines(instance, ())

    async def close(self) -> None:
        """Nothing to do."""

    def _see(self, instance: str, seen: InstanceObservation) -> None:
        self._seen[instance] = seen
        self._tell(instance)

    def _tell(self, instance: str) -> None:
        for listener in self._listeners:
            listener(instance)


async def main(socket: str) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings()
    settings.home.make()
    plane = ControlPlane(settings, process_environment(), StubBackend(socket))
    await plane.start()
    await stop.wait()
    await plane.stop()


if __name__ == "__main__":
    configure_logging(LogLevel.WARNING, LogFormat.TEXT)
    asyncio.run(main(sys.argv[1]))
