"""TLS at the gateway: what clients are shown, how it is replaced, and where plain HTTP is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from gateway.certificate import Certificate, load_certificate
from gateway.dev_certificate import DevCertificate
from tests.integration.gateway.grpc_upstream import SERVICE
from tests.integration.gateway.load import Load
from tests.integration.gateway.rig import BEARER, KEY, Rig
from tests.support.ports import free_port

pytestmark = pytest.mark.integration
NAMES = ("localhost", "127.0.0.1")


def made(folder: Path) -> tuple[DevCertificate, Certificate]:
    """A certificate of an authority of its own."""
    now = datetime.now(UTC)
    files = DevCertificate(folder)
    files.ensure(NAMES, now)
    return files, load_certificate(files.chain, files.key, now)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tls_port=free_port())
    await rig.router.set_certificate(made(tmp_path / "first")[1])
    async with rig:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
        yield rig


@pytest.fixture
def files(rig: Rig, tmp_path: Path) -> DevCertificate:
    """The first certificate's."""
    return DevCertificate(tmp_path / "first")


def trusting(*files: DevCertificate, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for each in files:
        context.load_verify_locations(each.authority)
    context.set_alpn_protocols(list(alpn))
    return context


def address(rig: Rig, host: str = "127.0.0.1") -> str:
    return f"https://{host}:{rig.settings.tls_port}/endpoints/e/score"


async def test_requests_over_tls(rig: Rig, files: DevCertificate) -> None:
    async with httpx.AsyncClient(verify=trusting(files)) as client:
        for host in NAMES:
            answer = await client.get(address(rig, host), headers=BEARER)
            assert (answer.status_code, answer.json()["instance"]) == (200, "b1")
            assert answer.json()["headers"]["x-forwarded-proto"] == "https"
        assert (await client.get(address(rig))).status_code == 401


async def test_http2_is_offered(rig: Rig, files: DevCertificate) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", rig.settings.tls_port, ssl=trusting(files, alpn=("h2", "http/1.1"))
    )
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()
    await writer.wait_closed()
    assert reader is not None


async def test_plain_http_is_sent_to_tls_with_its_body(rig: Rig, files: DevCertificate) -> None:
    answer = await rig.client.post("/endpoints/e/score?x=1", headers=BEARER, content=b"{}")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://127.0.0.1:{rig.settings.tls_port}/endpoints/e/score?x=1"
    async with httpx.AsyncClient(verify=trusting(files), follow_redirects=True) as client:
        plain = f"http://127.0.0.1:{rig.settings.listen_port}/endpoints/e/score"
        assert (await client.post(plain, content=b"{}", headers=BEARER)).status_code == 401  # not sent along elsewhere
        there = await client.post(answer.headers["location"], content=b"{}", headers=BEARER)
        assert (there.status_code, there.json()["bytes"]) == (200, 2)


async def test_older_protocols_are_refused(rig: Rig, files: DevCertificate) -> None:
    context = trusting(files)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection("127.0.0.1", rig.settings.tls_port, ssl=context)


async def test_a_stranger_to_the_authority_does_not_trust_it(rig: Rig) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(address(rig), headers=BEARER)


async def test_a_new_certificate_touches_no_connection(rig: Rig, files: DevCertificate, tmp_path: Path) -> None:
    """Connections that are open, with a request of 1.5 s on one, and new ones all through ten replacements."""
    load = Load(rig.settings.tls_port, "/endpoints/e/score", dict(BEARER), connections=8, tls=trusting(files))
    steady = asyncio.create_task(load.run())
    async with httpx.AsyncClient(verify=trusting(files), timeout=30) as client:
        slow = asyncio.create_task(client.get(address(rig).replace("/score", "/slow/1500"), headers=BEARER))
        await asyncio.sleep(0.1)
        for number in range(10):
            newer, certificate = made(tmp_path / str(number))
            await rig.router.set_certificate(certificate)
            async with httpx.AsyncClient(verify=trusting(newer)) as fresh:
                assert (await fresh.get(address(rig), headers=BEARER)).status_code == 200
        assert (await slow).status_code == 200
    load.stop()
    await steady
    assert (load.failures, load.opened) == (0, 8)
    async with httpx.AsyncClient(verify=trusting(files)) as stale:
        with pytest.raises(httpx.ConnectError):
            await stale.get(address(rig), headers=BEARER)


async def test_the_private_key_is_in_no_dump_and_no_log(rig: Rig, files: DevCertificate) -> None:
    lines = files.key.read_text().splitlines()[1:-1]
    said = await rig.admin.config_dump() + (rig.folder / "envoy.log").read_text()
    assert not [line for line in lines if line in said]


async def test_a_pair_envoy_would_refuse_changes_nothing(rig: Rig, files: DevCertificate, tmp_path: Path) -> None:
    """Checked before; were it not, the one in force stays."""
    _, other = made(tmp_path / "other")
    mixed = dataclasses.replace(other, key=files.key.read_bytes())
    with pytest.raises(Exception, match="The gateway refused the certificate") as caught:
        await rig.router.set_certificate(mixed)
    assert "PRIVATE KEY" not in str(caught.value)
    async with httpx.AsyncClient(verify=trusting(files)) as client:
        assert (await client.get(address(rig), headers=BEARER)).status_code == 200


async def test_without_a_certificate_it_does_not_start() -> None:
    rig = Rig(tls_port=free_port())
    with pytest.raises(RuntimeError, match="certificate"):
        await rig.router.start()


async def test_grpc_over_tls(rig: Rig, files: DevCertificate) -> None:
    """HTTP/2 in earnest: the same keys, the same endpoints."""
    await rig.router.apply(rig.endpoint(rig.grpc_deployment("blue", "b2"), name="g", blue=100))
    credentials = grpc.ssl_channel_credentials(files.authority.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{rig.settings.tls_port}", credentials) as channel:
        call, to = channel.unary_unary(f"/{SERVICE}/ModelInfer"), ("x-penstock-endpoint", "g")
        assert await call(b"hi", metadata=(to, ("authorization", f"Bearer {KEY}"))) == b"b2-grpc hi"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"hi", metadata=(to, ("authorization", "Bearer x")))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
