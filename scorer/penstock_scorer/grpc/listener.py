"""grpcio's server, without its thread pool. The only file that touches grpcio.

grpcio offers two servers. The blocking one holds a thread for every call that waits for a slot; the one on asyncio
costs more than the rest of the request (docs/decisions/scorer-oip-grpc-server.md). Both stand on a completion queue,
which is used here directly: one thread takes events off it, and slots answer from their own threads.

These are grpcio's internals. They are the same from 1.60 to 1.85, and a test runs the oldest and the newest.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from penstock_scorer.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.supervision.tls import TlsFiles

_cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")
_log = logging.getLogger("penstock_scorer.grpc")
_OPTIONS = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_send_message_length", -1),
)
_OK = 0
_NEVER = 1e9
"""Seconds (30 years): a caller without a deadline has one beyond it."""


class Call:
    """One call on grpcio's hands. Its methods may be called from any thread; callbacks come on the listener's."""

    __slots__ = ("_begun", "_call", "_deadline", "_gone", "closed", "metadata", "method", "on_close")

    def __init__(self, event: Any) -> None:
        self._call = event.call
        self._begun = False
        details = event.call_details
        self.method: str = details.method.decode("utf-8", "replace")
        self.metadata: dict[str, str] = {
            key: value for key, value in event.invocation_metadata or () if isinstance(value, str)
        }
        self._deadline: float = details.deadline
        self.closed = False
        """Whether the caller has gone."""
        self.on_close: Callable[[], None] | None = None
        """Called, on the listener's thread, when it goes before it has its answer."""
        self._gone: Callable[[], None] | None = None
        self._call.start_server_batch((_cygrpc.ReceiveCloseOnServerOperation(0),), self._over)

    def remaining(self) -> float | None:
        """Seconds the caller still waits; None: as long as it takes."""
        left = self._deadline - time.time()
        return left if left < _NEVER else None

    def headers(self) -> Headers:
        """The metadata, as HTTP's headers are given to scripts."""
        return list(self.metadata.items())

    def read(self, done: Callable[[bytes | None], None]) -> None:
        """Call ``done`` with the next message, or with None when there is none."""

        def arrived(event: Any) -> None:
            done(event.batch_operations[0].message() if event.success else None)

        self._call.start_server_batch((_cygrpc.ReceiveMessageOperation(0),), arrived)

    def reply(self, message: bytes, metadata: Headers) -> None:
        """Send the only message, and end the call."""
        self._batch(
            (
                *self._begin(metadata),
                _cygrpc.SendMessageOperation(message, 0),
                _cygrpc.SendStatusFromServerOperation((), _OK, b"", 0),
            )
        )

    def send(self, message: bytes, done: Callable[[bool], None]) -> None:
        """Send one of several messages, then call ``done`` with whether it went out."""
        self._batch((*self._begin([]), _cygrpc.SendMessageOperation(message, 0)), lambda event: done(event.success))

    def end(self, code: int = _OK, details: str = "", metadata: Headers | None = None) -> None:
        """End the call without a further message."""
        status = _cygrpc.SendStatusFromServerOperation((), code, details.encode(), 0)
        self._batch((*self._begin(metadata or []), status))

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Call ``gone``, too, on the listener's thread when the caller goes from now on; None: no longer."""
        self._gone = gone

    def _begin(self, metadata: Headers) -> tuple[Any, ...]:
        if self._begun:
            return ()
        self._begun = True
        return (_cygrpc.SendInitialMetadataOperation(tuple(metadata), 0),)

    def _batch(self, operations: tuple[Any, ...], done: Callable[[Any], None] | None = None) -> None:
        if not self.closed:
            self._call.start_server_batch(operations, done or _ignore)
        elif done is not None:
            done(_Failed)

    def _over(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self.closed = True
            for callback in (self.on_close, self._gone):
                if callback is not None:
                    callback()


class Listener:
    """Serves gRPC at one address.

    Args:
        address: As gRPC spells it: ``HOST:PORT`` (shared with other processes) or ``unix:PATH``.
        handle: Called with each call, on the listener's thread; must not block.
    """

    def __init__(
        self, address: str, handle: Callable[[Call], None], limit: int = -1, tls: TlsFiles | None = None
    ) -> None:
        """``limit``: bytes a message may have, -1 for any number; a larger one is RESOURCE_EXHAUSTED.

        ``tls``: files that were checked; they are read again at each handshake, so that they may be replaced.
        """
        self._address = address
        self._tls = tls
        self._handle = handle
        self._queue = _cygrpc.CompletionQueue()
        self._server = _cygrpc.Server((*_OPTIONS, ("grpc.max_receive_message_length", limit)), False)
        self._server.register_completion_queue(self._queue)
        self._drained: Callable[[], None] | None = None
        self._started = False

    def start(self) -> None:
        """Bind, and accept connections from now on, on a thread of its own.

        Raises:
            OSError: the address cannot be had.
        """
        try:
            # grpcio calls back into it at every handshake, and keeps no reference itself.
            self._security = () if self._tls is None else (_credentials(self._tls),)
            bound = self._server.add_http2_port(self._address.encode(), *self._security)
        except RuntimeError as error:
            raise OSError(f"Cannot serve gRPC at {self._address}: {error}") from error
        if not bound:
            raise OSError(f"Cannot serve gRPC at {self._address}.")
        self._server.start()
        self._started = True
        self._request()
        threading.Thread(target=self._serve, name="scorer-grpc", daemon=True).start()

    def leave(self) -> None:
        """HTTP/2 says by itself, when it drains, which calls it still answers."""

    def drain(self, done: Callable[[], None]) -> None:
        """Refuse new calls, let those in flight finish, then call ``done``."""
        self._drained = done
        if not self._started:
            done()
            return
        self._server.shutdown(self._queue, self._shut)

    def _serve(self) -> None:
        while True:
            event = self._queue.poll()
            try:
                if event.tag(event):
                    return
            except BaseException:  # noqa: BLE001 - one call must not end the others
                _log.exception("A fault in the scorer")
            # A reference to the last event would keep its call alive until the next one.
            event = None

    def _request(self) -> None:
        self._server.request_call(self._queue, self._queue, self._called)

    def _called(self, event: Any) -> None:
        if not event.success:
            return  # shut down
        if self._drained is None:
            self._request()
        self._handle(Call(event))

    def _shut(self, _event: Any) -> bool:
        if self._drained is not None:
            self._drained()
        return True


def _credentials(tls: TlsFiles) -> Any:
    import grpc  # noqa: PLC0415 - with TLS alone

    def read() -> Any:
        pair = (tls.key.read_bytes(), tls.cert.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=tls.client_ca.read_bytes())

    def renewed() -> Any:
        try:
            tls.check()
            return read()
        except (SettingsError, OSError):
            return None  # the present one stays

    made: Any = grpc.dynamic_ssl_server_credentials(read(), renewed, require_client_authentication=True)
    return made._credentials  # noqa: SLF001


class _Failed:
    """The event of a batch that was not started, because the caller had gone."""

    success = False


def _ignore(_event: Any) -> None:
    """Nothing is left to do."""
