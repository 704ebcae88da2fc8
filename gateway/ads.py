"""The delta ADS server: every Envoy's one stream to the control plane.

It listens on a Unix socket that only its own user may open (rule 10), and, if asked to, on a port for enrolled gateways
of other machines; never before the state is loaded (rule 8): an empty first answer makes Envoy drop what it serves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from pathlib import Path

import grpc
import grpc.aio
import structlog
from envoy.service.discovery.v3 import discovery_pb2
from envoy.type.v3 import semantic_version_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway import ads_socket
from gateway.ads_port import AdsAddressError, AdsPort, Guarded, peer
from gateway.ads_stream import ROUTES_GRACE_S, AdsStream, Request, Target, Waiter
from gateway.journal import Journal
from gateway.snapshot import Change, Key, Snapshot
from gateway.subscription import Response
from gateway.translate.listener import listeners

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_METHOD = "DeltaAggregatedResources"
_Context = grpc.aio.ServicerContext[discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse]
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    # An Envoy that hangs, or whose machine is gone, is found out and counts as disconnected.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Else a second control plane would share the port without a word.
    ("grpc.so_reuseport", 0),
)
_log = structlog.get_logger(__name__)


class AdsServer:
    """Publishes a snapshot to every connected Envoy, and tells when they have it."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        clock: Callable[[], float],
        on_connection: Callable[[int], None] = lambda _connected: None,
    ) -> None:
        """``clock`` is monotonic seconds; ``on_connection`` is told the number of Envoys whenever it changes."""
        self._snapshot = snapshot
        self._clock = clock
        self._on_connection = on_connection
        self._streams: set[AdsStream] = set()
        self._server: grpc.aio.Server | None = None
        self._port: AdsPort | None = None
        self._journal: Journal | None = None
        nonces = count(1)
        self._nonce = lambda: str(next(nonces))

    def keep(self, journal: Journal) -> None:
        """Note the state, and from now on every change, in ``journal``."""
        journal.start(self._snapshot)
        self._journal = journal

    async def start(
        self,
        socket: Path,
        services: Sequence[grpc.GenericRpcHandler] = (),
        *,
        port: AdsPort | None = None,
        only_vacant: bool = False,
    ) -> bool:
        """Listen on ``socket`` (mode 0600) in place of whoever did, and on ``port``. The snapshot must be complete.

        ``services`` are served beside ADS: what else Envoys call. ``only_vacant``: unless somebody answers there;
        returns whether it listens.

        Raises:
            RuntimeError: the socket cannot be made.
            AdsAddressError: ``port`` cannot be had.
        """
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        served = (grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}), *services)
        server.add_generic_rpc_handlers((Guarded(served, port.enrolled),) if port is not None else served)
        self._port = port
        if port is not None:
            _listen(server, port)
        # The socket must never exist with a wider mode, not even between bind and chmod.
        umask = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{ads_socket.draft(socket)}")
        finally:
            os.umask(umask)
        await server.start()
        if not ads_socket.place(ads_socket.draft(socket), socket, only_vacant=only_vacant):
            await server.stop(grace=None)
            return False
        self._server = server
        return True

    async def stop(self) -> None:
        """End every stream. Envoys keep serving what they have, and come back to the next server."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace=None)
        if self._journal is not None:
            self._journal.close()

    @property
    def streams(self) -> tuple[AdsStream, ...]:
        """The connected Envoys that have said who they are."""
        return tuple(stream for stream in self._streams if stream.node_id)

    def connect(self, who: str = "") -> AdsStream:
        """Open the state of one more Envoy; the socket's handler and tests call it.

        ``who``: what the certificate of an enrolled gateway says, which has listeners of its own.
        """
        settings = self._port.enrolled(who) if who and self._port is not None else None
        if settings is None:
            stream = AdsStream(self._snapshot, self._nonce, self._clock)
            if who:  # expelled between the check and here
                stream.dismiss()
        else:
            own = {resource.name: resource for resource in listeners(settings)}
            stream = AdsStream(
                self._snapshot, self._nonce, self._clock, name=settings.node_id, peer=who, own_listeners=own
            )
        self._streams.add(stream)
        return stream

    def disconnect(self, stream: AdsStream) -> None:
        """That Envoy has gone; whoever waited for it need not."""
        self._streams.discard(stream)
        stream.release()
        self._on_connection(len(self.streams))

    def turn_away(self) -> None:
        """End the streams of gateways that are not enrolled any more; they are not let in again."""
        for stream in self._streams:
            if stream.peer and self._port is not None and self._port.enrolled(stream.peer) is None:
                stream.dismiss()

    def publish(self, change: Change) -> tuple[Key, ...]:
        """Set the snapshot and wake who cares; returns what differs.

        Changes published in one turn of the event loop travel together.
        """
        changed = self._snapshot.apply(change)
        if self._journal is not None and changed:
            self._journal.record(self._snapshot, changed)
        for stream in self._streams:
            stream.mark(changed)
        return changed

    async def wait(self, targets: Sequence[Target], timeout_s: float) -> None:
        """Return once every Envoy connected now has settled ``targets``, has gone, or turns out not to listen.

        One that does not answer in ``timeout_s`` seconds is late: while another keeps up, nobody waits for it until
        it has caught up. It misses nothing by that; its own stream keeps the order that is safe.

        Raises:
            gateway.ads_stream.RejectedError: one answered NACK.
            TimeoutError: none answered in time.
        """
        listening = [stream for stream in self.streams if not stream.listener_error]
        awaited = [stream for stream in listening if not stream.late] or listening
        waiter = Waiter()
        for stream in awaited:
            stream.watch(targets, waiter)
        waiter.check()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.future
        except TimeoutError:
            late = [stream for stream in awaited if stream.forget(waiter)]
            for stream in late:
                stream.late = True
                _log.warning("gateway does not acknowledge in time", gateway=stream.node_id, seconds=timeout_s)
            if len(late) == len(awaited):
                raise
        finally:
            if waiter.future.cancelled() or waiter.future.exception() is not None:
                for stream in self._streams:
                    stream.forget(waiter)

    async def _serve(self, requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest], context: _Context) -> None:
        stream = self.connect(peer(context))
        reader = asyncio.create_task(self._read(requests, stream))
        grace = asyncio.get_running_loop().call_later(ROUTES_GRACE_S, stream.wake.set)
        try:
            while not reader.done():
                await stream.wake.wait()
                stream.wake.clear()
                if stream.dismissed:
                    break
                for response in stream.flush():
                    await context.write(_encode(response))
        finally:
            grace.cancel()
            reader.cancel()
            self.disconnect(stream)

    async def _read(self, requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest], stream: AdsStream) -> None:
        try:
            async for message in requests:
                known = stream.node_id
                stream.receive(_decode(message))
                if stream.node_id != known:
                    self._on_connection(len(self.streams))
        finally:
            stream.wake.set()


def _listen(server: grpc.aio.Server, port: AdsPort) -> None:
    try:
        bound = server.add_secure_port(port.address, port.credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise AdsAddressError(
            f"{port.address} cannot be listened on for gateways: it is in use, or no address of this machine"
        )


def _decode(message: discovery_pb2.DeltaDiscoveryRequest) -> Request:
    return Request(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        node_id=message.node.id,
        envoy_version=_version(message.node.user_agent_build_version.version),
    )


def _version(number: semantic_version_pb2.SemanticVersion) -> str:
    parts = (number.major_number, number.minor_number, number.patch)
    return ".".join(map(str, parts)) if any(parts) else ""


def _encode(response: Response) -> discovery_pb2.DeltaDiscoveryResponse:
    return discovery_pb2.DeltaDiscoveryResponse(
        type_url=response.type.value,
        nonce=response.nonce,
        resources=[
            discovery_pb2.Resource(
                name=resource.name,
                version=resource.version,
                resource=AnyMessage(type_url=resource.type.value, value=resource.body),
            )
            for resource in response.resources
        ],
        removed_resources=response.removed,
    )
