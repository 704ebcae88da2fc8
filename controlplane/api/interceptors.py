"""Around every call: a request id, the credential, and refusals in the form clients understand.

The handlers are wrapped, not the calls, so that one piece of code serves unary and streaming methods alike.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import structlog

from controlplane.api.context import set_caller
from controlplane.api.errors import code_of, internal_status, status_of
from controlplane.domain.errors import PenstockError, UnauthenticatedError
from controlplane.domain.operations import Caller

log = structlog.get_logger(__name__)

REQUEST_ID = "x-request-id"
_GIVEN_ID = re.compile(r"[\x21-\x7e]{1,100}")
_OPEN = ("/grpc.health.v1.Health/",)
"""Methods anyone may call: a supervisor asks for health and has no token."""

Handler = Any


class AdminToken:
    """Compares the token of a call with the admin's, in a time that tells nothing about either."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()

    def caller(self, authorization: str) -> str:
        """Who it is.

        Raises:
            UnauthenticatedError: there is no token, or a wrong one.
        """
        scheme, _, token = authorization.partition(" ")
        if not authorization:
            raise UnauthenticatedError("The call carries no token.", hint=_TOKEN_HINT)
        if scheme.lower() != "bearer" or not self._matches(token.strip()):
            raise UnauthenticatedError("The token of the call is wrong.", hint=_TOKEN_HINT)
        return "admin"

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self._digest)


_TOKEN_HINT = "Send `authorization: Bearer TOKEN` with the token in the file admin_token under PENSTOCK_HOME."


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method with request id, credential check and error mapping."""

    def __init__(self, token: AdminToken) -> None:
        self._token = token

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The method's handler, wrapped; None for a method there is none of."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        wrap = self._stream if handler.response_streaming else self._unary
        inner = next(
            f for f in (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream) if f
        )
        make = (
            (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            if handler.response_streaming
            else (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
        )
        return make(wrap(method, inner), handler.request_deserializer, handler.response_serializer)

    def _unary(self, method: str, inner: Any) -> Any:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            request_id = _request_id(context)
            try:
                await self._admit(method, context, request_id)
                return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the client hears of it in one form
                await _refuse(context, method, request_id, error)

        return handle

    def _stream(self, method: str, inner: Any) -> Any:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            request_id = _request_id(context)
            try:
                await self._admit(method, context, request_id)
                answers = inner(request, context)
                if inspect.isawaitable(answers):
                    await answers  # it writes to the context itself, as health's Watch does
                    return
                async with aclosing(answers):
                    async for response in answers:
                        yield response
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  # likewise
                await _refuse(context, method, request_id, error)

        return handle

    async def _admit(self, method: str, context: grpc.aio.ServicerContext[Any, Any], request_id: str) -> None:
        await context.send_initial_metadata(((REQUEST_ID, request_id),))
        actor = "" if method.startswith(_OPEN) else self._token.caller(_metadata(context, "authorization"))
        set_caller(Caller(actor, request_id))


async def _refuse(
    context: grpc.aio.ServicerContext[Any, Any], method: str, request_id: str, error: Exception
) -> NoReturn:
    if isinstance(error, PenstockError):
        status, code = status_of(error, request_id), code_of(error)
        tell = log.error if code is grpc.StatusCode.UNAVAILABLE else log.info
        tell("refused", method=method, request_id=request_id, reason=error.reason.value, why=str(error))
    else:
        status, code = internal_status(request_id), grpc.StatusCode.INTERNAL
        log.error("failed", method=method, request_id=request_id, exc_info=error)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, status.message)


def _request_id(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    given = _metadata(context, REQUEST_ID)
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def _metadata(context: grpc.aio.ServicerContext[Any, Any], name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return ""
