"""The call by which a gateway of another machine gets its next certificate: it shows the present one."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import grpc.aio

from gateway.ads_port import peer

_SERVICE = "penstock.gateway.Renewal"
_METHOD = "Renew"


class Renewal:
    """Answers with a certificate and its key (PEM). Both are made anew, and travel over the connection it guards."""

    def __init__(self, issue: Callable[[str], bytes]) -> None:
        """``issue`` makes them for the gateway whose certificate says this, which is enrolled."""
        self._issue = issue

    def service(self) -> grpc.GenericRpcHandler:
        """The gRPC service, for the server that gateways connect to. Requests are empty, answers the file's bytes."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._renew)
        return grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler})

    async def _renew(self, _: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        who = peer(context)
        if not who:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the gateway of this machine has no certificate")
        return self._issue(who)
