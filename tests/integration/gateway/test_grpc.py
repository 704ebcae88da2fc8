"""gRPC on the same port with the same keys: calls, streams, and errors in gRPC's own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from grpc import StatusCode

from gateway.routes import EndpointRoute, Mirror, RateLimit, Sticky, StickyBy
from tests.integration.gateway.grpc_upstream import SERVICE
from tests.integration.gateway.rig import KEY, Rig

pytestmark = pytest.mark.integration

INFER = f"/{SERVICE}/ModelInfer"
STREAM = f"/{SERVICE}/ModelStreamInfer"
Metadata = tuple[tuple[str, str], ...]
E = ("x-penstock-endpoint", "e")
BEARER = ("authorization", f"Bearer {KEY}")


@pytest.fixture
async def channel(rig: Rig) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.settings.listen_port}") as channel:
        yield channel


async def infer(channel: grpc.aio.Channel, message: bytes = b"hi", metadata: Metadata = (E, BEARER)) -> bytes:
    return bytes(await channel.unary_unary(INFER)(message, metadata=metadata))


async def arrived(channel: grpc.aio.Channel) -> None:
    """As :meth:`Rig.arrived`, for the calls of a channel."""
    await asyncio.gather(infer(channel), return_exceptions=True)


async def refused(channel: grpc.aio.Channel, message: bytes = b"hi", metadata: Metadata = (E, BEARER)) -> StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(channel, message, metadata)
    details = caught.value.details() or ""
    assert "{" not in details  # a sentence, not JSON
    assert details.endswith((".", "words")), details
    return caught.value.code()


async def serve(rig: Rig) -> EndpointRoute:
    route = rig.endpoint(rig.grpc_deployment("blue", "b1"), rig.grpc_deployment("green", "g1"), blue=100)
    await rig.router.apply(route)
    return route


async def test_a_call(rig: Rig, channel: grpc.aio.Channel) -> None:
    await serve(rig)
    call = channel.unary_unary(INFER)(b"hi", metadata=(E, BEARER, ("x-penstock-client", "root")))
    assert await call == b"b1-grpc hi"
    assert ("azureml-model-deployment", "blue") in tuple(await call.initial_metadata())
    # The instance hears who calls; the name of the endpoint was for the gateway.
    assert tuple(await call.trailing_metadata()) == (("seen-x-penstock-client", "primary"),)
    assert await infer(channel, metadata=(E, BEARER, ("azureml-model-deployment", "green"))) == b"g1-grpc hi"
    # HTTP goes on beside it, on the same port.
    assert (await rig.get("/endpoints/e/score")).json()["instance"] == "b1"


async def test_a_conversation(rig: Rig, channel: grpc.aio.Channel) -> None:
    """Each answer arrives before the next question is asked, so nothing gathers what passes."""
    route = await serve(rig)
    brief = tuple(replace(deployment, request_timeout_ms=200) for deployment in route.deployments)
    await rig.router.apply(replace(route, deployments=brief))
    call = channel.stream_stream(STREAM)(metadata=(E, BEARER))
    for number in range(5):
        await call.write(b"%d" % number)
        assert await call.read() == b"b1-grpc %d" % number
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # longer silent than a request may be
    await call.write(b"x" * 1_000_000)
    assert len(await call.read()) == 1_000_008
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is StatusCode.OK


async def test_a_conversation_nobody_goes_on_with_is_ended(rig: Rig, channel: grpc.aio.Channel) -> None:
    await rig.router.apply(replace(await serve(rig), stream_idle_timeout_ms=200))
    call = channel.stream_stream(STREAM)(metadata=(E, BEARER))
    await call.write(b"x")
    assert await call.read() == b"b1-grpc x"
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()


async def test_errors_are_codes_and_sentences(rig: Rig, channel: grpc.aio.Channel) -> None:
    await serve(rig)
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), name="web", blue=100))
    await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b1"), name="idle"))
    await rig.router.apply(rig.endpoint(replace(rig.grpc_deployment("blue"), grpc=True), name="empty", blue=100))
    hasty = replace(rig.grpc_deployment("blue", "b1"), request_timeout_ms=100)
    await rig.router.apply(rig.endpoint(hasty, name="hasty", blue=100))
    few = replace(rig.endpoint(rig.grpc_deployment("blue", "b1"), name="few", blue=100), rate_limit=RateLimit(1, 60))
    await rig.router.apply(few)
    assert await infer(channel, metadata=(("x-penstock-endpoint", "few"), BEARER)) == b"b1-grpc hi"

    def at(name: str) -> Metadata:
        return (("x-penstock-endpoint", name), BEARER)

    table: list[tuple[str, bytes, Metadata, StatusCode]] = [
        ("no key", b"hi", (E,), StatusCode.UNAUTHENTICATED),
        ("a wrong key", b"hi", (E, ("authorization", "Bearer x")), StatusCode.UNAUTHENTICATED),
        ("no endpoint", b"hi", (BEARER,), StatusCode.INVALID_ARGUMENT),
        ("an unknown endpoint", b"hi", at("nope"), StatusCode.NOT_FOUND),
        ("a path for a name", b"hi", at("e/../e"), StatusCode.NOT_FOUND),
        ("two endpoints", b"hi", (E, *at("idle")), StatusCode.NOT_FOUND),
        ("an unknown deployment", b"hi", (*at("e"), ("azureml-model-deployment", "x")), StatusCode.NOT_FOUND),
        ("no traffic", b"hi", at("idle"), StatusCode.NOT_FOUND),
        ("no gRPC there", b"hi", at("web"), StatusCode.UNAVAILABLE),
        ("no instance", b"hi", at("empty"), StatusCode.UNAVAILABLE),
        ("too slow", b"slow 1000", at("hasty"), StatusCode.DEADLINE_EXCEEDED),
        ("too often", b"hi", at("few"), StatusCode.RESOURCE_EXHAUSTED),
        ("the model's own error", b"fail", at("e"), StatusCode.INVALID_ARGUMENT),
    ]
    got = [(what, await refused(channel, message, metadata)) for what, message, metadata, _ in table]
    assert got == [(what, code) for what, _, _, code in table]


async def test_more_pending_than_it_accepts(rig: Rig, channel: grpc.aio.Channel) -> None:
    await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b1", concurrent=1), blue=100))
    calls = await asyncio.gather(*(infer(channel, b"slow 300") for _ in range(6)), return_exceptions=True)
    codes = sorted(str(c.code()) if isinstance(c, grpc.aio.AioRpcError) else "OK" for c in calls)
    assert codes == ["OK"] * 2 + [str(StatusCode.RESOURCE_EXHAUSTED)] * 4


async def test_an_instance_that_dies(rig: Rig, channel: grpc.aio.Channel) -> None:
    await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b1", "b2"), blue=100))
    slow = [asyncio.create_task(infer(channel, b"slow 300")) for _ in range(10)]
    await asyncio.sleep(0.1)
    rig.kill("b1-grpc")
    answers = await asyncio.gather(*slow, *(infer(channel) for _ in range(10)))
    assert answers[10:] == [b"b2-grpc hi"] * 10
    assert set(answers[:10]) == {b"b2-grpc slow 300"}
    rig.kill("b2-grpc")
    assert await refused(channel) is StatusCode.UNAVAILABLE


async def test_grpc_comes_and_goes_with_its_cluster(rig: Rig, channel: grpc.aio.Channel) -> None:
    """A deployment that answers gRPC no longer: the routes leave the cluster before it goes."""
    web = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    both = rig.endpoint(rig.grpc_deployment("blue", "b1"), blue=100)
    await rig.router.apply(web)
    async with rig.under_load() as load:
        for _ in range(5):
            await rig.router.apply(both)
            await arrived(channel)
            assert await infer(channel) == b"b1-grpc hi"
            await rig.router.apply(web)
            await arrived(channel)
            assert await refused(channel) is StatusCode.UNAVAILABLE
    assert (load.failures, load.broken) == (0, [])
    assert rig.router.status().rejected == {}


async def test_shares_stickiness_and_mirrors(rig: Rig, channel: grpc.aio.Channel) -> None:
    blue, green = rig.grpc_deployment("blue", "b1"), rig.grpc_deployment("green", "g1")
    await rig.router.apply(rig.endpoint(blue, green, blue=50, green=50))
    assert {await infer(channel) for _ in range(40)} == {b"b1-grpc hi", b"g1-grpc hi"}
    sticky = replace(rig.endpoint(blue, green, blue=50, green=50), sticky=Sticky(StickyBy.HEADER, "x-user"))
    await rig.router.apply(sticky)
    await arrived(channel)
    for user in ("ann", "bob", "eve"):
        assert len({await infer(channel, metadata=(E, BEARER, ("x-user", user))) for _ in range(10)}) == 1
    # Half of the split answers HTTP alone: its share is told so, and the other's is served.
    await rig.router.apply(replace(sticky, deployments=(blue, rig.deployment("green", "g1"))))
    await rig.router.apply(replace(rig.endpoint(blue, green, blue=100), mirror=Mirror("green", 50)))
    assert {await infer(channel) for _ in range(10)} == {b"b1-grpc hi"}


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x00\x00", b"\xff" * 50, b"\x00\xff\xff\xff\xff12345", b"\x01\x00\x00\x00\x03abc"]
)
async def test_malformed_messages_are_the_instances_business_alone(rig: Rig, body: bytes) -> None:
    """Over HTTP/1.1 too, where gRPC has no trailers to speak in: an answer comes, and the gateway goes on."""
    hasty = replace(rig.grpc_deployment("blue", "b1"), request_timeout_ms=300)  # a message that never ends
    await rig.router.apply(rig.endpoint(hasty, blue=100))
    headers = {"content-type": "application/grpc", "te": "trailers", "x-penstock-endpoint": "e", BEARER[0]: BEARER[1]}
    response = await rig.client.post(INFER, headers=headers, content=body)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/grpc")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.settings.listen_port}") as channel:
        assert await infer(channel) == b"b1-grpc hi"
