"""Every error of the gateway is JSON with a code and a sentence, and only the model's are marked as the model's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import grpc
import httpx
import pytest
from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.routes import RateLimit
from gateway.translate import filters, messages
from tests.integration.gateway.grpc_upstream import SERVICE
from tests.integration.gateway.rig import BEARER, KEY, Rig, until

pytestmark = pytest.mark.integration

SCORE = "/endpoints/e/score"
OF_THE_MODEL = ("ms-azureml-model-error-reason", "ms-azureml-model-error-statuscode")
FAULT = "x-fault"


def code(response: httpx.Response) -> str:
    """The code of an error of the platform's; it is checked that it is one, in its documented form."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.content))
    body = response.json()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "message"]
    assert body["error"]["message"].endswith((".", "'."))
    assert not [name for name in OF_THE_MODEL if name in response.headers]
    return str(body["error"]["code"])


async def test_what_can_be_provoked_from_outside(rig: Rig) -> None:
    hasty = replace(rig.deployment("hasty", "h1"), request_timeout_ms=50)
    green = rig.deployment("green")
    one = replace(rig.deployment("one", "o1", concurrent=1), request_timeout_ms=20_000)
    route = replace(rig.endpoint(rig.deployment("blue", "b1"), hasty, green, one, blue=100), max_request_bytes=1000)
    await rig.router.apply(route)
    await rig.router.apply(replace(rig.endpoint(one, name="few", one=100), rate_limit=RateLimit(1, 60)))
    await rig.get("/endpoints/few/score")
    held = [asyncio.create_task(rig.get("/endpoints/e/slow/3000", azureml_model_deployment="one")) for _ in range(2)]

    async def both_held() -> bool:
        return await rig.admin.active_requests() == 2

    await until(both_held)
    upgrade = BEARER | {"connection": "upgrade", "upgrade": "foo"}
    table = [
        (401, "Unauthorized", await rig.get(SCORE, {})),
        (403, "UpgradeRefused", await rig.get(SCORE, upgrade)),
        (404, "EndpointNotFound", await rig.get("/endpoints/x/score")),
        (404, "DeploymentNotFound", await rig.get(SCORE, azureml_model_deployment="x")),
        (408, "RequestTimeout", await rig.get("/endpoints/e/slow/500", azureml_model_deployment="hasty")),
        (413, "RequestTooLarge", await rig.client.post(SCORE, headers=BEARER, content=b"x" * 1001)),
        (429, "TooManyRequests", await rig.get(SCORE, azureml_model_deployment="one")),
        (429, "RateLimited", await rig.get("/endpoints/few/score")),
        (431, "HeadersTooLarge", await rig.get(SCORE, big="x" * 70_000)),
        (502, "InstanceFailed", await rig.get("/endpoints/e/drop")),
        (503, "NoReadyInstance", await rig.get(SCORE, azureml_model_deployment="green")),
    ]
    assert [(r.status_code, code(r)) for _, _, r in table] == [(status, code) for status, code, _ in table]
    assert [response.headers["retry-after"] for status, _, response in table if status == 429] == ["1", "60"]
    assert [(await task).status_code for task in held] == [200, 200]


FAULTS = {
    400: "BadRequest",
    408: "RequestTimeout",
    413: "RequestTooLarge",
    426: "UpgradeRequired",
    429: "RateLimited",
    431: "HeadersTooLarge",
    500: "InternalError",
    501: "NotImplemented",
    502: "InstanceFailed",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
"""Whatever makes Envoy itself answer with a status, this is the code."""


@pytest.fixture
async def faulty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Envoy's own fault filter before the router: it answers with the status in the header ``x-fault``."""
    ranked = filters._ranked

    def with_faults() -> Iterator[tuple[str, AnyMessage | config_source_pb2.ExtensionConfigSource]]:
        *before, router = ranked()
        yield from before
        for status in FAULTS:
            yield f"fault-{status}", fault(status)
        yield router

    monkeypatch.setattr(filters, "_ranked", with_faults)
    async with Rig() as rig:
        await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b1"), blue=100))
        yield rig


def fault(status: int) -> AnyMessage:
    always = percent_pb2.FractionalPercent(numerator=100)
    wanted = route_components_pb2.HeaderMatcher(name=FAULT, string_match=string_pb2.StringMatcher(exact=str(status)))
    return messages.pack(
        fault_pb2.HTTPFault(abort=fault_pb2.FaultAbort(http_status=status, percentage=always), headers=[wanted])
    )


async def test_every_status_of_the_gateways_own(faulty: Rig) -> None:
    got = {}
    for status in FAULTS:
        response = await faulty.get(SCORE, x_fault=str(status))
        assert response.status_code == status
        assert "fault filter abort" not in response.text  # Envoy's words
        got[status] = code(response)
    assert got == FAULTS


async def test_every_status_of_the_gateways_own_over_grpc(faulty: Rig) -> None:
    internal, deadline = grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED
    wanted = {500: internal, 502: grpc.StatusCode.UNAVAILABLE, 503: grpc.StatusCode.UNAVAILABLE, 504: deadline}
    got = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{faulty.settings.listen_port}") as channel:
        for status in wanted:
            metadata = (("x-penstock-endpoint", "e"), ("authorization", f"Bearer {KEY}"), (FAULT, str(status)))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"hi", metadata=metadata)
            got[status] = caught.value.code()
            assert "{" not in (caught.value.details() or "{")
            assert not [name for name in OF_THE_MODEL if name in dict(caught.value.initial_metadata())]
    assert got == wanted


async def test_the_same_statuses_of_a_model_are_the_models(rig: Rig) -> None:
    """The body is its own, whatever it is; the headers say whose, and what it said."""
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    for status in (400, 401, 403, 404, 408, 413, 424, 431, 500, 502, 503, 504):
        response = await rig.get(f"/endpoints/e/code/{status}")
        assert response.status_code == 424, status
        assert [response.headers[name] for name in OF_THE_MODEL] == ["model_error", str(status)]
        assert response.json()["instance"] == "b1"
    # It cannot mark an answer that is none of its errors, nor one of the platform's.
    assert not [name for name in OF_THE_MODEL if name in (await rig.get(SCORE)).headers]
