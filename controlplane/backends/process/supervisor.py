"""Watching one instance: its process by a pidfd, its answers by probes.

A supervisor can be thrown away at any moment and another made for the same folder; nothing that matters is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn, ParamSpec

import structlog

from controlplane.backends.process import probes
from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.backends.process.post_mortem import post_mortem
from controlplane.backends.process.probes import Dial, ProbeCount
from controlplane.domain.instances import InstanceFailure, InstanceObservation, InstanceState
from controlplane.domain.ports import Clock
from penstock.daemon import DaemonState, LogFile, StubbornError

_EAGER_SECONDS = 0.05
"""Between probes of an instance that has just been started: what it adds to the time to the first answer."""
_EAGER_FOR_SECONDS = 10.0
_PATIENT_SECONDS = 0.25
_RECOVERY_SECONDS = 1.0
_log = structlog.get_logger()
P = ParamSpec("P")


class Supervisor:
    """One instance, as it is seen now."""

    def __init__(
        self, files: InstanceFiles, manifest: Manifest, dial: Dial, clock: Clock, changed: Callable[[str], None]
    ) -> None:
        """``dial`` is the way to it; ``changed`` is told its id."""
        self.files, self.manifest, self._dial = files, manifest, dial
        self.log = LogFile(files.log)
        self._daemon = files.daemon
        self._clock, self._changed = clock, changed
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.seen = self._first_look()

    @property
    def launched(self) -> bool:
        """Whether its process was ever started."""
        return self.seen.state is not InstanceState.PENDING

    def watch(self) -> None:
        """Begin to watch a process that runs, or that ended unseen. Does nothing while it is watched already."""
        if not self._tasks and self.seen.state is not InstanceState.FAILED:
            self.seen = self._first_look()
            if self.launched:
                self._tasks = [asyncio.create_task(self._attend(), name=f"instance {self.files.id}")]

    async def stop(self, grace_seconds: float) -> None:
        """End it and everything it started, and remove its folder.

        Raises:
            StubbornError: some of it hangs in the kernel.
        """
        self._stopping = True
        if self.seen.state not in (InstanceState.FAILED, InstanceState.PENDING):
            self._see(replace(self.seen, state=InstanceState.DRAINING, ready_since=None))
        await self._daemon.stop_async(grace_seconds)
        await self.close()
        await asyncio.to_thread(self._remove)

    async def close(self) -> None:
        """Stop watching; it goes on."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _first_look(self) -> InstanceObservation:
        status, ended = self._daemon.status(), self.files.ended()
        seen = InstanceObservation(
            id=self.files.id,
            state=InstanceState.PENDING,
            template_hash=self.manifest.template_hash,
            address=self.manifest.uri,
            grpc_addresses=self._grpc_addresses(),
            pid=status.pid,
        )
        if ended is not None:
            return replace(seen, state=InstanceState.FAILED, ended=ended[0], failure=ended[1])
        if status.state is DaemonState.ABSENT:
            return seen
        ready_since = self.files.ready_since() if status.state is DaemonState.RUNNING else None
        return replace(
            seen,
            state=InstanceState.READY if ready_since else InstanceState.STARTING,
            started=datetime.fromtimestamp(self._daemon.started, UTC) if self._daemon.started else None,
            ready_since=ready_since,
        )

    async def _attend(self) -> None:
        while True:
            try:
                failure = await self._watch_to_the_end()
                break
            except OSError as error:  # ours, not the instance's: no descriptor left, say
                _log.warning("an instance cannot be watched", instance=self.files.id, error=str(error))
                await asyncio.sleep(_RECOVERY_SECONDS)
        if self._stopping:
            return
        try:
            await asyncio.to_thread(self._daemon.kill)  # all of it that is left
        except StubbornError as error:
            failure = failure or InstanceFailure("Stuck", str(error))
        exit_code = self._daemon.status().exit_code
        if failure is None:
            failure = await asyncio.to_thread(post_mortem, self.files, exit_code)
        now = self._clock.now()
        await self._note(self.files.note_ended, now, failure)
        self._see(replace(self.seen, state=InstanceState.FAILED, ended=now, ready_since=None, failure=failure))

    async def _watch_to_the_end(self) -> InstanceFailure | None:
        """Return when it has ended (None), or is to be (why)."""
        ended = asyncio.create_task(self._daemon.ended())
        liveness = asyncio.create_task(self._probe_liveness())
        readiness = asyncio.create_task(self._probe_readiness())
        tasks = (ended, liveness, readiness)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return None
            if readiness.done():
                readiness.result()
            return await liveness
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe_readiness(self) -> NoReturn:
        settings = self.manifest.readiness
        count = ProbeCount(settings, healthy=self.seen.state is InstanceState.READY)
        while True:
            ok = await probes.answers(self._dial, settings.timeout_seconds)
            count.add(ok=ok, age_seconds=self._age())
            await self._judge(count)
            await asyncio.sleep(self._pause(count))

    async def _probe_liveness(self) -> InstanceFailure:
        settings = self.manifest.liveness
        count = ProbeCount(settings)
        while not count.failed:
            await asyncio.sleep(settings.period_seconds)
            ok = await probes.answers(self._dial, settings.timeout_seconds)
            count.add(ok=ok, age_seconds=self._age())
        times = f"{settings.failure_threshold} times in a row" if settings.failure_threshold > 1 else "once"
        return InstanceFailure(
            "LivenessProbeFailed", f"it was ended because it did not answer its liveness probe {times}"
        )

    async def _judge(self, count: ProbeCount) -> None:
        if self._stopping:
            return
        if count.healthy and self.seen.state is not InstanceState.READY:
            now = self._clock.now()
            # Noted before it is told: a successor must not know less than whoever acted on it.
            await self._note(self.files.note_ready, now)
            grpc = self._grpc_addresses()
            self._see(replace(self.seen, state=InstanceState.READY, ready_since=now, grpc_addresses=grpc))
        elif count.failed and self.seen.state is InstanceState.READY:
            await self._note(self.files.note_ready, None)
            self._see(replace(self.seen, state=InstanceState.UNREADY, ready_since=None))

    async def _note(self, write: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """Notes help a successor; a full disk must not stop what serves."""
        try:
            await asyncio.to_thread(write, *arguments, **named)
        except OSError as error:
            _log.warning("an instance's state cannot be noted", instance=self.files.id, error=str(error))

    def _pause(self, count: ProbeCount) -> float:
        period = self.manifest.readiness.period_seconds
        if count.healthy:
            return period
        if count.failed and self.seen.state is InstanceState.UNREADY:
            return min(period, _RECOVERY_SECONDS)
        return _EAGER_SECONDS if self._age() < _EAGER_FOR_SECONDS else min(period, _PATIENT_SECONDS)

    def _age(self) -> float:
        return (self._clock.now() - self.seen.started).total_seconds() if self.seen.started else 0.0

    def _see(self, seen: InstanceObservation) -> None:
        overtaken = self._stopping and seen.state is not InstanceState.DRAINING
        if seen != self.seen and not overtaken:
            self.seen = seen
            self._changed(seen.id)

    def _grpc_addresses(self) -> tuple[str, ...]:
        return self.manifest.grpc_uris()

    def _remove(self) -> None:
        self.manifest.remove_sockets()
        self.files.throw_away()
