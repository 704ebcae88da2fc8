"""One worker process: load the script, wait for the word to go, serve, drain.

The process' main thread calls ``init`` and becomes the first slot, so ``init`` and ``run`` share a thread. A
second thread listens to the supervisor; a signal reaches it through a wake-up descriptor, so that draining
begins at once even while the script computes in native code.

Words on the wire, one byte each way: the worker says ``R`` (ready) or sends a failure as JSON; the supervisor
says ``G`` (go) and ``D`` (drain). A closed wire means that the supervisor is gone: so is the worker, at once.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from penstock_scorer.auth.guard import Guard
from penstock_scorer.batching.policy import BatchPolicy, policy_of
from penstock_scorer.contract.openapi import OpenApi, ServiceInfo
from penstock_scorer.contract.script import Script, load
from penstock_scorer.dataplane import forks
from penstock_scorer.dataplane.inbox import Inbox
from penstock_scorer.dataplane.limits import Limits
from penstock_scorer.dataplane.scoring import Scoring
from penstock_scorer.errors import ScorerError
from penstock_scorer.grpc.doorbell import Doorbell
from penstock_scorer.http.cors import Cors
from penstock_scorer.http.door import Door
from penstock_scorer.http.front import Front
from penstock_scorer.http.loop import Loop
from penstock_scorer.http.relay import Relay
from penstock_scorer.http.v2 import V2
from penstock_scorer.inference.served import Served
from penstock_scorer.supervision.failure import Failure
from penstock_scorer.supervision.memory import keep_freed_memory
from penstock_scorer.supervision.sockets import bind_unix
from penstock_scorer.telemetry.access import AccessLog
from penstock_scorer.telemetry.logs import configure

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence

    from penstock_scorer.dataplane.job import Headers, Job
    from penstock_scorer.settings import Settings
    from penstock_scorer.telemetry.metrics import Lane, Metrics

READY, GO, DRAIN = b"R", b"G", b"D"
LEFT = 70
"""Exit code of a worker that asked to be replaced."""
EXTRA_LANES = 4
"""Metrics lanes beside the slots': HTTP's thread and the watchman before them, gRPC's and HTTP/2's threads after."""
_LINGER_S = 0.2
"""From announcing the end (``connection: close``) to closing: queued connections are still answered, and a client that
has just had its answer may send its next request. One that rests longer may find its connection closed."""
_LAST_MOMENT_S = 0.5
"""For the main thread to see that it may end."""
_BACKLOG = 2048
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger("penstock_scorer")


class Transport(Protocol):
    """Something that takes requests from a socket."""

    def start(self) -> None:
        """Accept connections from now on."""

    def leave(self) -> None:
        """Close each connection behind the next answer on it."""

    def drain(self, done: Callable[[], None]) -> None:
        """Stop accepting, let what is in flight finish, then call ``done``."""


@dataclass(frozen=True)
class Place:
    """What a worker inherits from the supervisor."""

    index: int
    settings: Settings
    metrics: Metrics
    listener: socket.socket
    health: socket.socket | None
    wire: socket.socket
    supervisor: int
    script: Script | None = None
    """Loaded before the fork (``WORKER_PRELOAD``)."""


def prepare(settings: Settings) -> tuple[Script, AbstractEventLoop | None]:
    """Import the script and call its ``init``; with the event loop of an ``async def init``.

    Raises:
        ScorerError: the script cannot be served, or its ``logging.json`` is wrong.
    """
    folders = (settings.app_root, settings.entry_script.parent)
    configure(settings.log_level, folders, as_json=settings.json_logs)
    search = (settings.app_root, *((settings.source_dir,) if settings.source_dir else ()))
    script = load(settings.entry_script, search)
    for note in script.run.notes:
        _log.info(note)
    return script, script.init()


def work(place: Place) -> None:
    """Be a worker; never returns."""
    die_with(place.supervisor)
    faulthandler.enable()
    code = 1
    try:
        code = _Worker(place).run()
    except ScorerError as error:
        place.wire.sendall(Failure.of(error).dumps().encode())
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        _log.exception("The worker failed")
    finally:
        # The script's threads and exit handlers must not keep the process: the supervisor waits for it.
        _flush_and_exit(code)


class _Worker:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._code = 0
        self._wake, self._wake_writer = socket.socketpair()
        for end in (self._wake, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        place.metrics.started(place.index, os.getpid())

    def run(self) -> int:
        place, settings = self._place, self._place.settings
        began = time.perf_counter()
        # Before init(): calls wait for a worker that replaces another, as those over HTTP do.
        bell = _bell(settings, place.index)
        # A loop made before the fork is not ours to use.
        script, loop = (place.script, None) if place.script else prepare(settings)
        served = Served(script, settings.model_identity)
        *lanes, grpc_lane, http2_lane = (
            place.metrics.lane(place.index, lane) for lane in range(settings.slots + EXTRA_LANES)
        )
        limits = _limits(settings, script, place.index)
        # One slot alone can look after the transport while it has nothing to run.
        inbox: Inbox[Job] | None = Inbox() if len(limits.shares) == 1 and not script.run.awaited else None
        scoring = Scoring(script.run, limits, lanes, self._leave, infer=script.merged_infer, loop=loop, queue=inbox)
        front = _front(place, script, scoring, lanes[0], served)
        listeners = _http(place, front, _front(place, script, scoring, http2_lane, served), inbox)
        if settings.grpc_addresses:
            listeners.append(_grpc(place, bell, served, scoring, grpc_lane))
        # After init(): what loading the model took goes back to the kernel first.
        keep_freed_memory()
        # The collector need not go through libraries and model again: 60 ms in 14,000 requests with scikit-learn.
        gc.collect()
        gc.freeze()
        place.metrics.ready(place.index, time.perf_counter() - began)
        place.wire.sendall(READY)
        forks.watch()
        scoring.executor.start()
        # init() may have installed handlers of its own; ours only have to exist for the wake-up descriptor to
        # work.
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(
            target=self._control, args=(listeners, front, scoring), name="scorer-control", daemon=True
        ).start()
        scoring.executor.work()
        return self._code

    def _leave(self, why: str) -> None:
        """Ask to be replaced: drain what others have in flight, then end with a code that says so."""
        if self._code == 0:
            self._code = LEFT
            _log.error("%s; this worker ends and is replaced.", why)
            self._wake_writer.send(b"\0")

    def _control(self, listeners: Sequence[Transport], front: Front, scoring: Scoring) -> None:
        """Start on the supervisor's word; drain on its word, a signal or a wish of the worker's own."""
        while True:
            readable, _, _ = select.select([self._place.wire, self._wake], [], [])
            if self._wake in readable:
                break
            word = self._place.wire.recv(1)
            if word == GO:
                _start(listeners)
            elif word == DRAIN:
                break
            else:
                os._exit(1)
        self._drain(listeners, front, scoring)

    def _drain(self, listeners: Sequence[Transport], front: Front, scoring: Scoring) -> None:
        """Close once every caller has its answer, or the grace is over; the main thread then ends the process."""
        front.draining = True
        for listener in listeners:
            listener.leave()
        grace = self._place.settings.drain_seconds
        deadline = time.monotonic() + grace
        if self._code == 0:
            time.sleep(min(_LINGER_S, grace))
        for closed in [_drained(listener) for listener in listeners]:
            closed.wait(max(0.0, deadline - time.monotonic()))
        scoring.executor.stop()
        if self._code == LEFT:
            # Everybody has been answered; what still runs is what made this worker leave.
            deadline = min(deadline, time.monotonic() + _LAST_MOMENT_S)
        time.sleep(max(_LAST_MOMENT_S, deadline - time.monotonic()))
        _log.error("%d request(s) did not finish within %.0f s and are cut off.", scoring.executor.in_flight, grace)
        _flush_and_exit(self._code)


def _start(listeners: Sequence[Transport]) -> None:
    try:
        for listener in listeners:
            listener.start()
    except OSError as error:
        _log.error("%s", error)
        _flush_and_exit(1)


def _drained(listener: Transport) -> threading.Event:
    done = threading.Event()
    listener.drain(done.set)
    return done


def _flush_and_exit(code: int) -> NoReturn:
    """End this process, whatever state it is in (a full disk, a closed pipe)."""
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _front(place: Place, script: Script, scoring: Scoring, lane: Lane, served: Served) -> Front:
    settings = place.settings
    info = ServiceInfo(settings.service_name, settings.service_version, settings.service_path_prefix)
    return Front(
        scoring,
        OpenApi(script.run.call, info, settings.entry_script.parent),
        place.metrics,
        lane,
        Guard(settings.auth_policy) if settings.auth_policy else None,
        metrics_open=settings.local,
        common=_common(settings),
        access=_access(settings),
        cors=Cors(settings.cors_origins) if settings.cors_origins else None,
        v2=V2(served, scoring.submit, lane),
    )


def _http(place: Place, front: Front, http2: Front, inbox: Inbox[Job] | None) -> list[Transport]:
    settings = place.settings
    limit, streams = settings.max_request_bytes, settings.slots
    loop = Loop()
    transports: list[Transport] = []
    if settings.tls is None:
        relay = Relay(http2, limit, streams)
        transports += [Door(loop, place.listener, front, front.too_large, limit, relay.take), relay]
    else:
        from penstock_scorer.http.renewing import RenewingListener  # noqa: PLC0415 - with TLS alone

        listener = RenewingListener(place.listener, front, front.too_large, limit, settings.tls, streams=streams)
        transports.append(listener)
    if place.health is not None:
        transports.append(Door(loop, place.health, front.health, front.too_large, 0))
    return [*transports, _Polling(loop, inbox)]


class _Polling:
    """Has a loop polled."""

    def __init__(self, loop: Loop, inbox: Inbox[Job] | None) -> None:
        self._loop = loop
        self._inbox = inbox

    def start(self) -> None:
        if self._inbox is None:
            self._loop.start()
        else:
            self._inbox.serve(self._loop)

    def leave(self) -> None:
        pass

    def drain(self, done: Callable[[], None]) -> None:
        done()


def _bell(settings: Settings, index: int) -> socket.socket | None:
    if settings.grpc_uds is None:
        return None
    bell = bind_unix(settings.grpc_path(index))
    bell.listen(_BACKLOG)
    return bell


def _grpc(place: Place, bell: socket.socket | None, served: Served, scoring: Scoring, lane: Lane) -> Transport:
    settings = place.settings

    def load(address: str) -> Transport:
        from penstock_scorer.grpc.listener import Listener as GrpcListener  # noqa: PLC0415 - an extra, slow to import
        from penstock_scorer.grpc.service import Service  # noqa: PLC0415

        guard = Guard(settings.auth_policy) if settings.auth_policy else None
        service = Service(served, scoring.submit, lane, guard, common=_common(settings), access=_access(settings))
        return GrpcListener(address, service, settings.max_request_bytes, settings.tls)

    if bell is None:
        return load(settings.grpc_addresses[place.index])
    return Doorbell(bell, settings.grpc_path(place.index), load)


def _access(settings: Settings) -> AccessLog | None:
    return AccessLog(sys.stdout.write, as_json=settings.json_logs) if settings.access_log else None


def _common(settings: Settings) -> Headers:
    return [("x-ms-server-version", settings.server_version)] if settings.server_version else []


def _limits(settings: Settings, script: Script, index: int) -> Limits:
    wait = settings.max_queue_wait_ms
    batch = script.run.batch
    if batch is None and script.merged_infer is not None and not script.run.awaited:
        batch = policy_of(script.merged_infer) or BatchPolicy()
    # One at once is one call at once, and what is merged is one call: a full batch. A larger limit counts requests.
    slots = settings.share(index) if batch is None or not settings.one_at_once else batch.max_size
    return Limits(
        slots=slots,
        batch=batch,
        max_queue=settings.max_queue,
        max_wait=None if wait is None else wait / 1000,
        timeout=settings.scoring_timeout_ms / 1000,
        stuck_after=settings.worker_timeout_s,
    )


def die_with(supervisor: int) -> None:
    """Have the kernel kill this process when its supervisor dies, however it dies."""
    prctl: Callable[..., int] | None = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)
