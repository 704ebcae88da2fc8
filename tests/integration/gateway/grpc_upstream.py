"""A tiny instance that answers gRPC: ``python grpc_upstream.py SOCKET NAME`` until it is killed.

``inference.GRPCInferenceService`` with bytes for messages. What it does is in the message: ``slow 200`` (milliseconds),
``fail``; anything else is echoed after the instance's name. Metadata of the call comes back as trailers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

SERVICE = "inference.GRPCInferenceService"


class Service:
    """The methods, by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def infer(self, message: bytes, context: Any) -> bytes:
        self._tell(context)
        what, _, value = message.partition(b" ")
        if what == b"slow":
            await asyncio.sleep(int(value) / 1000)
        if what == b"fail":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the model's own words")
        return self._name.encode() + b" " + message

    async def converse(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self._tell(context)
        async for message in messages:
            yield self._name.encode() + b" " + message

    def _tell(self, context: Any) -> None:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        context.set_trailing_metadata(
            [(f"seen-{key}", metadata[key]) for key in ("x-penstock-client", "x-penstock-endpoint") if key in metadata]
        )


async def main(socket: str, name: str) -> None:
    service = Service(name)
    server = grpc.aio.server()
    handlers = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(service.infer),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(service.converse),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
