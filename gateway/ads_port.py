"""The control plane's door for gateways of other machines: a TCP port, with a certificate asked of both sides.

Who connects must show a certificate of the platform's own authority that names a gateway which is enrolled, and the
admission it was enrolled by: one that was expelled is not let in again by its old certificate when its name is. What a
gateway says of itself counts for nothing then: its name is the one in its certificate.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog

from gateway.settings import GatewaySettings

GATEWAY_PREFIX = "spiffe://penstock/gateway/"
"""What ``NAME/ADMISSION`` of a gateway follows in its certificate."""
CONTROL_PLANE = "spiffe://penstock/controlplane"
"""What the control plane's certificate says; gateways ask for it."""
_SSL = b"ssl"
_SILENCE_SECONDS = 60.0
_MOST_NAMES = 100
_log = structlog.get_logger(__name__)


class AdsAddressError(Exception):
    """The address cannot be listened on."""

    reason = "AdsAddressUnusable"
    hint = "Stop what holds it, or choose another with --ads-address."


@dataclass(frozen=True, slots=True)
class AdsPort:
    """Where, with which certificates, and for whom."""

    address: str
    """``HOST:PORT`` to listen on."""
    credentials: grpc.ServerCredentials
    """Kept here: gRPC calls back into them at every handshake, and keeps no reference itself."""
    enrolled: Callable[[str], GatewaySettings | None]
    """The settings of the gateway whose certificate says this; None: it is not, or no longer, enrolled."""


def credentials(pair: Callable[[], tuple[bytes, bytes]], authority: bytes) -> grpc.ServerCredentials:
    """TLS with the certificate and key (PEM) that ``pair`` gives at each handshake, so that a newer one is shown.

    A client must have a certificate that ``authority`` (PEM) has signed for calling. ``pair`` is called from threads of
    gRPC's.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        chain, key = pair()
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, require_client_authentication=True)


def peer_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The name alone of :func:`peer`."""
    return peer(context).partition("/")[0]


def peer(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """``NAME/ADMISSION`` in the certificate of the gateway that called; empty for one over the Unix socket.

    Raises:
        PermissionError: its certificate is none of a gateway.
    """
    held = context.auth_context()
    if held.get("transport_security_type") != [_SSL]:
        return ""
    identities = [value.decode() for value in held.get("x509_subject_alternative_name", ())]
    names = [one.removeprefix(GATEWAY_PREFIX) for one in identities if one.startswith(GATEWAY_PREFIX)]
    if not names:
        raise PermissionError(f"the certificate is of {', '.join(identities) or 'nobody'}, and of no gateway")
    return names[0]


class Guarded(grpc.GenericRpcHandler):
    """Services that answer the Unix socket, and over TCP enrolled gateways alone."""

    def __init__(
        self,
        services: Sequence[grpc.GenericRpcHandler],
        enrolled: Callable[[str], object | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services, self._enrolled, self._clock = services, enrolled, clock
        self._told: dict[str, float] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The method called, behind the check; None for one that is not served."""
        for service in self._services:
            handler = service.service(handler_call_details)
            if handler is not None:
                return self._behind(handler)
        return None

    def _behind(self, handler: Any) -> Any:
        if handler.stream_stream is not None:
            wrapped: Any = self._streaming(handler.stream_stream)
            make = grpc.stream_stream_rpc_method_handler
        else:
            wrapped, make = self._unary(handler.unary_unary), grpc.unary_unary_rpc_method_handler
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, method: Any) -> Any:
        if inspect.isasyncgenfunction(method):
            raise TypeError("write answers to the context: a generator would be called before the check")

        async def checked(requests: AsyncIterator[Any], context: Any) -> None:
            await self._check(context)
            await method(requests, context)

        return checked

    def _unary(self, method: Any) -> Any:
        async def checked(request: Any, context: Any) -> Any:
            await self._check(context)
            return await method(request, context)

        return checked

    async def _check(self, context: Any) -> None:
        try:
            who = peer(context)
        except PermissionError as error:
            if self._is_news(str(error)):
                _log.warning("a caller was turned away", peer=context.peer(), reason=str(error))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "a gateway's certificate is needed")
            return
        if who and self._enrolled(who) is None:
            name = who.partition("/")[0]
            if self._is_news(who):
                _log.warning("a gateway was turned away, which is not enrolled", peer=context.peer(), gateway=name)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"the gateway {name} is not enrolled")

    def _is_news(self, who: str) -> bool:
        """Whether it was not told for a minute: an Envoy comes again each second, and whoever is hostile more often."""
        now = self._clock()
        self._told = {each: when for each, when in self._told.items() if now - when < _SILENCE_SECONDS}
        if who in self._told or len(self._told) == _MOST_NAMES:
            return False
        self._told[who] = now
        return True
