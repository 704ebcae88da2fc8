"""Gateways of other machines, and instances behind TLS: who is let in, who is not, and what renewal costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import httpx
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from controlplane.pki import identity
from controlplane.pki.authority import Authority, Use
from gateway.routes import DeploymentRoute
from tests.integration.gateway.mutual_rig import MutualRig, rewritten
from tests.integration.gateway.rig import BEARER, until

pytestmark = pytest.mark.integration


@pytest.fixture
async def rig() -> AsyncIterator[MutualRig]:
    async with MutualRig() as rig:
        yield rig


async def test_a_gateway_elsewhere_serves_by_what_it_is_told_over_tcp(rig: MutualRig) -> None:
    folder = rig.enroll("edge")
    rig.start_elsewhere(folder)
    await rig.ready_elsewhere(folder)
    host = await rig.serving("e", "blue")
    await rig.router.apply(rig.one(DeploymentRoute("blue", (host,), 500)))
    assert {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"}
    there = rig.enrolled["edge"].listen_port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{there}") as client:
        answer = await client.get("/endpoints/e/score", headers=BEARER)
        assert (answer.status_code, answer.json()["instance"]) == (200, "blue")
        assert (await client.get("/endpoints/e/score")).status_code == 401
        # A change reaches it as any other.
        green = await rig.serving("e", "green")
        await rig.router.apply(rig.one(DeploymentRoute("green", (green,), 500)))
        assert (await client.get("/endpoints/e/score", headers=BEARER)).json()["instance"] == "green"
    # What it reports counts: load and requests of both gateways.
    assert (await rig.get("/endpoints/e/score")).status_code == 200
    await until(lambda: rig.signals.load.gateways == 2)
    assert (folder / "access.log").exists()


async def test_a_control_plane_that_is_away_costs_it_nothing(rig: MutualRig) -> None:
    folder = rig.enroll("edge")
    rig.start_elsewhere(folder)
    await rig.ready_elsewhere(folder)
    route = rig.one(DeploymentRoute("blue", (await rig.serving("e", "blue"),), 500))
    await rig.router.apply(route)
    there = rig.enrolled["edge"].listen_port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{there}") as client:
        await rig.router.stop()
        assert (await client.get("/endpoints/e/score", headers=BEARER)).status_code == 200
        rig._control_plane()
        await rig.show_upstream()
        rig.router.preload((route,))
        await rig.open()
        await until(lambda: {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"})
        assert (await client.get("/endpoints/e/score", headers=BEARER)).status_code == 200


@pytest.mark.parametrize(
    "who", ["nobody", "foreign", "expired", "an instance", "the gateways", "expelled", "a former edge"]
)
async def test_who_is_turned_away(rig: MutualRig, who: str) -> None:
    foreign = Authority.open(rig.folder / "other" / "authority.pem", datetime.now(UTC))
    edge = identity.gateway("edge")
    rig.enroll("edge")
    leaf = {
        "nobody": None,
        "foreign": rig.leaf(edge, Use.CALL, authority=foreign),
        "expired": rig.leaf(edge, Use.CALL, age=timedelta(days=2)),
        "an instance": rig.leaf(identity.scorer("e", "blue"), Use.ANSWER),
        "the gateways": rig.leaf(identity.GATEWAYS, Use.CALL),
        "expelled": rig.leaf(identity.gateway("former"), Use.CALL),
        "a former edge": rig.leaf(identity.gateway("edge/its-former-admission"), Use.CALL),
    }[who]
    denied = who in ("the gateways", "expelled", "a former edge")
    assert await _asks(rig, leaf and leaf.pem) is (
        grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.UNAVAILABLE
    )
    # Who is enrolled gets in the same way.
    assert await _asks(rig, rig.leaf(edge, Use.CALL).pem) is grpc.StatusCode.OK


async def _asks(rig: MutualRig, pem: bytes | None) -> grpc.StatusCode:
    """The answer to a question for every cluster, with this certificate."""
    assert rig.authority is not None
    pair = (pem[pem.index(b"-----BEGIN PRIVATE") :], pem[: pem.index(b"-----BEGIN PRIVATE")]) if pem else ()
    credentials = grpc.ssl_channel_credentials(rig.authority.pem, *pair)
    async with grpc.aio.secure_channel(f"127.0.0.1:{rig.ads_port}", credentials) as channel:
        call = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )(timeout=10)
        request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        # What a gateway says of itself counts for nothing.
        request.node.id = "gateway"
        try:
            await call.write(request)
            answer = await call.read()
        except grpc.aio.AioRpcError as error:
            return error.code()
        if answer is grpc.aio.EOF:
            return await call.code()
        assert {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"}
        call.cancel()
        return grpc.StatusCode.OK


async def test_a_gateway_that_is_expelled_is_told_nothing_more(rig: MutualRig) -> None:
    folder = rig.enroll("edge")
    rig.start_elsewhere(folder)
    await rig.ready_elsewhere(folder)
    rig.router.turn_away()
    await asyncio.sleep(0.2)
    assert {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"}
    settings = rig.enrolled.pop("edge")
    rig.router.turn_away()
    await until(lambda: {view.node_id for view in rig.router.gateways()} == {"gateway"})
    await asyncio.sleep(1.0)
    assert {view.node_id for view in rig.router.gateways()} == {"gateway"}
    rig.enrolled["edge"] = settings
    await until(lambda: {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"})


async def test_an_envoy_without_a_valid_certificate_gets_nothing(rig: MutualRig) -> None:
    folder = rig.enroll("edge", rig.leaf(identity.gateway("edge"), Use.CALL, age=timedelta(days=2)))
    rig.start_elsewhere(folder)
    await until((folder / "admin.sock").exists)
    await asyncio.sleep(1.0)
    assert {view.node_id for view in rig.router.gateways()} == {"gateway"}
    # Its certificate is renewed beside it, and it comes in without a restart.
    rewritten(folder, rig.leaf(identity.gateway("edge"), Use.CALL))
    await rig.ready_elsewhere(folder)
    assert {view.node_id for view in rig.router.gateways()} == {"gateway", "edge"}


async def test_an_envoy_does_not_listen_to_another_control_plane(rig: MutualRig) -> None:
    rig.shown = rig.leaf(identity.scorer("e", "blue"), Use.BOTH)
    folder = rig.enroll("edge")
    rig.start_elsewhere(folder)
    await until((folder / "admin.sock").exists)
    await asyncio.sleep(1.0)
    assert {view.node_id for view in rig.router.gateways()} == {"gateway"}
    rig.shown = rig.leaf(identity.CONTROL_PLANE, Use.BOTH)  # shown at the next handshake
    await rig.ready_elsewhere(folder)


async def test_an_instance_that_is_not_who_it_should_be_gets_no_request(rig: MutualRig) -> None:
    for host in (
        await rig.serving("e", "blue", as_deployment="green"),
        await rig.serving("e", "blue", age=timedelta(days=2)),
    ):
        await rig.router.apply(rig.one(DeploymentRoute("blue", (host,), 500)))
        assert (await rig.get("/endpoints/e/score")).status_code == 502
    good = await rig.serving("e", "blue")
    await rig.router.apply(rig.one(DeploymentRoute("blue", (good,), 500)))
    assert (await rig.get("/endpoints/e/score")).status_code == 200


async def test_sockets_and_ports_behind_one_deployment(rig: MutualRig) -> None:
    """As while a platform moves from the one to the other."""
    hosts = (rig.host("b1"), await rig.serving("e", "blue"))
    await rig.router.apply(rig.one(DeploymentRoute("blue", hosts, 500)))
    seen = {(await rig.get("/endpoints/e/score")).json()["instance"] for _ in range(40)}
    assert seen == {"b1", "blue"}


async def test_renewing_what_gateways_show_to_instances_fails_no_request(rig: MutualRig) -> None:
    await rig.router.apply(rig.one(DeploymentRoute("blue", (await rig.serving("e", "blue"),), 500)))
    async with rig.under_load() as load:
        slow = asyncio.create_task(rig.get("/endpoints/e/slow/1500"))
        for _ in range(10):
            await rig.show_upstream()
            await asyncio.sleep(0.05)
        assert (await slow).status_code == 200
    assert (load.failures, load.total > 100) == (0, True)


async def test_no_private_key_is_in_a_dump_or_a_log(rig: MutualRig) -> None:
    folder = rig.enroll("edge")
    rig.start_elsewhere(folder)
    await rig.ready_elsewhere(folder)
    said = await rig.admin.config_dump() + (rig.folder / "envoy.log").read_text() + (folder / "log").read_text()
    key = (folder / "identity.pem").read_text().partition("BEGIN PRIVATE KEY-----")[2].splitlines()[1:-1]
    assert key
    assert not [line for line in key if line in said]
