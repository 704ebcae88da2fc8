"""What is told of calls over gRPC: every answer is a 200, so what went wrong has to be looked for elsewhere."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from tests.integration.gateway.rig import KEY, Rig, until

pytestmark = pytest.mark.integration

INFER = "/inference.GRPCInferenceService/ModelInfer"


async def call(channel: grpc.aio.Channel, message: bytes, key: str = KEY, endpoint: str = "e") -> Any:
    """The code, and the metadata that came with it."""
    made = channel.unary_unary(INFER)
    metadata = (("x-penstock-endpoint", endpoint), ("authorization", f"Bearer {key}"))
    try:
        await made(message, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code(), (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
    return grpc.StatusCode.OK, ()


async def test_errors_of_grpc_are_counted_and_logged_as_errors(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b1"), blue=100))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.settings.listen_port}") as channel:
        for _ in range(2):
            assert (await call(channel, b"hi"))[0] is grpc.StatusCode.OK
        assert (await call(channel, b"fail"))[0] is grpc.StatusCode.INVALID_ARGUMENT
        code, metadata = await call(channel, b"hi", key="wrong")
        assert code is grpc.StatusCode.UNAUTHENTICATED
        # Who has no key learns no names.
        assert "azureml-model-deployment" not in dict(metadata)
    requests = rig.signals.requests
    await until(lambda: sum(requests.requests("e", "blue").totals.values()) == 3)
    await until(lambda: bool(requests.requests("e").totals))
    assert requests.requests("e", "blue").totals == {(200, 200): 2, (424, 400): 1}
    assert requests.requests("e").totals == {(401, 0): 1}
    log = rig.settings.access_log
    await until(lambda: log.read_text().count("\n") == 4)  # written a little later
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["ResponseCode"], line["GrpcStatus"], line.get("ModelStatusCode")) for line in lines] == [
        (200, 0, None),
        (200, 0, None),
        (200, 3, None),
        (200, 16, None),
    ]
    assert "DeploymentName" not in lines[-1]
