"""Tokens at the gateway: a genuine one opens its endpoint, every other thing that looks like one gets 401."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import grpc
import grpc.aio
import httpx
import pytest
import pytest_asyncio

from gateway.routes import AuthMode, EndpointAuth, EndpointRoute
from gateway.snapshot import Key, ResourceType
from tests.integration.gateway.grpc_upstream import SERVICE
from tests.integration.gateway.rig import KEY, Rig, until
from tests.integration.gateway.signing import Signer, trust, unsigned

pytestmark = pytest.mark.integration

OLD, PRESENT, FOREIGN = Signer("old"), Signer("present"), Signer("foreign")
TOKENS = EndpointAuth(AuthMode.TOKEN)


@dataclass
class Case:
    """Something in a request that is not a token for the endpoint ``e``."""

    what: str
    credential: Callable[[], str]
    scheme: str = "Bearer"


def now() -> int:
    return int(time.time())


def tampered() -> str:
    head, _, signature = PRESENT.token("e").split(".")
    return f"{head}.{PRESENT.token('other').split('.')[1]}.{signature}"


HOSTILE = [
    Case("alg none", unsigned),
    Case("alg none, named key", lambda: unsigned(kid="present")),
    Case("alg HS256 with an empty signature", lambda: unsigned(alg="HS256", kid="present")),
    Case("wrong audience", lambda: PRESENT.token(aud="another-service")),
    Case("no audience", lambda: PRESENT.token(aud=None)),
    Case("wrong issuer", lambda: PRESENT.token(iss="somebody")),
    Case("wrong endpoint", lambda: PRESENT.token("other")),
    Case("no endpoint", lambda: PRESENT.token(endpoint=None)),
    Case("an endpoint that is no text", lambda: PRESENT.token(endpoint=["e"])),
    Case("the endpoint in other letters", lambda: PRESENT.token("E")),
    Case("expired", lambda: PRESENT.token(exp=now() - 10)),
    Case("no expiry", lambda: PRESENT.token(exp=None)),
    Case("not yet valid", lambda: PRESENT.token(nbf=now() + 60)),
    Case("issued before the revocation", lambda: PRESENT.token(iat=now() - 3600)),
    Case("no time of issue", lambda: PRESENT.token(iat=None)),
    Case("rotated-out key", OLD.token),
    Case("foreign key", FOREIGN.token),
    Case("foreign key under the present one's id", lambda: FOREIGN.token(kid="present")),
    Case("tampered payload", tampered),
    Case("signature cut off", lambda: PRESENT.token().rpartition(".")[0] + "."),
    Case("malformed", lambda: "not.a.token"),
    Case("dots alone", lambda: ".."),
    Case("a key of another endpoint", lambda: KEY),
    Case("very long", lambda: "a" * 20_000),
    Case("two tokens", lambda: f"{PRESENT.token('other')}, Bearer {PRESENT.token()}"),
    Case("a token, then something", lambda: f"{PRESENT.token()}, Bearer x"),
    Case("another scheme", PRESENT.token, scheme="Token"),
    Case("no scheme", PRESENT.token, scheme=""),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[Rig]:
    """Endpoint ``e`` takes tokens issued within the last minute, ``k`` takes keys."""
    async with Rig() as rig:
        await rig.router.set_jwks(trust(OLD, PRESENT))
        await rig.router.set_jwks(trust(PRESENT))
        blue = rig.deployment("blue", "b1")
        await rig.router.apply(
            replace(rig.endpoint(blue, blue=100), auth=replace(TOKENS, tokens_not_before=now() - 60))
        )
        await rig.router.apply(rig.endpoint(blue, blue=100, name="k"))
        yield rig


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def assert_refused(response: httpx.Response, credential: str = "") -> None:
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="penstock"')
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"]["code"] == "Unauthorized"
    assert "azureml-model-deployment" not in response.headers
    if len(credential) > 10:
        assert credential not in response.text + str(response.headers)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.what)
async def test_what_is_no_token_for_this_endpoint(world: Rig, case: Case) -> None:
    credential = case.credential()
    header = {"authorization": f"{case.scheme} {credential}".strip()}
    for _ in range(2):  # refused again when it is known
        assert_refused(await world.get("/endpoints/e/score", header), credential)
    if credential != KEY:
        assert_refused(await world.get("/endpoints/k/score", header), credential)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_token_for_this_endpoint(world: Rig, scheme: str) -> None:
    token = PRESENT.token()
    for _ in range(3):  # checked, then remembered
        response = await world.get("/endpoints/e/score", {"authorization": f"{scheme} {token}"})
        assert response.status_code == 200
        seen = response.json()["headers"]
        assert (seen["x-penstock-client"], seen["authorization"]) == ("alice", f"{scheme} {token}")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_cannot_name_itself(world: Rig) -> None:
    assert_refused(await world.get("/endpoints/e/score", {"x-penstock-client": "alice"}))
    response = await world.get("/endpoints/e/score", bearer(PRESENT.token()), x_penstock_client="root")
    assert response.json()["headers"]["x-penstock-client"] == "alice"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_in_the_address_is_not_read(world: Rig) -> None:
    response = await world.get(f"/endpoints/e/score?access_token={PRESENT.token()}", {})
    assert_refused(response)
    assert response.headers["www-authenticate"] == 'Bearer realm="penstock"'


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_is_no_key(world: Rig) -> None:
    assert_refused(await world.get("/endpoints/k/score", bearer(PRESENT.token("k"))))
    assert (await world.get("/endpoints/k/score")).status_code == 200


async def test_a_token_opens_the_endpoint_by_every_address(rig: Rig) -> None:
    """gRPC and the older address find their route after the filters were chosen."""
    await rig.router.set_jwks(trust(PRESENT))
    await rig.router.apply(replace(rig.endpoint(rig.grpc_deployment("blue", "b1"), blue=100), auth=TOKENS))
    for path in ("/endpoints/e", "/api/v1/service/e/score"):
        answer = await rig.get(path, bearer(PRESENT.token()))
        assert (answer.status_code, answer.json()["headers"]["x-penstock-client"]) == (200, "alice")
        assert_refused(await rig.get(path, bearer(PRESENT.token("other"))))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.settings.listen_port}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")

        def metadata(token: str) -> tuple[tuple[str, str], ...]:
            return ("x-penstock-endpoint", "e"), ("authorization", f"Bearer {token}")

        assert await call(b"hi", metadata=metadata(PRESENT.token())) == b"b1-grpc hi"
        for wrong in (PRESENT.token("other"), FOREIGN.token(), unsigned()):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"hi", metadata=metadata(wrong))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_nobody_gets_in_before_there_are_keys(rig: Rig) -> None:
    await rig.router.apply(token_endpoint(rig))
    assert_refused(await rig.get("/endpoints/e/score", bearer(PRESENT.token())))
    await rig.router.set_jwks(trust(PRESENT))
    assert (await rig.get("/endpoints/e/score", bearer(PRESENT.token()))).status_code == 200
    await rig.router.set_jwks(trust())
    assert_refused(await rig.get("/endpoints/e/score", bearer(PRESENT.token())))


async def test_keys_rotate_with_overlap_and_without_touching_a_connection(rig: Rig) -> None:
    await rig.router.set_jwks(trust(OLD))
    await rig.router.apply(token_endpoint(rig))
    old, new = bearer(OLD.token()), bearer(PRESENT.token())
    async with rig.under_load(headers=old) as load:
        assert_refused(await rig.get("/endpoints/e/score", new))
        for signers in ((OLD, PRESENT), (PRESENT, OLD)) * 10:
            await rig.router.set_jwks(trust(*signers))
            assert (await rig.get("/endpoints/e/score", new)).status_code == 200
            assert (await rig.get("/endpoints/e/score", old)).status_code == 200
    assert (load.failures, load.opened) == (0, 8)
    assert load.total > 200
    await rig.router.set_jwks(trust(PRESENT))
    assert_refused(await rig.get("/endpoints/e/score", old))
    assert (await rig.get("/endpoints/e/score", new)).status_code == 200


async def test_revocation_is_one_route_and_immediate(rig: Rig) -> None:
    await rig.router.set_jwks(trust(PRESENT))
    route = token_endpoint(rig)
    await rig.router.apply(route)
    early, late = bearer(PRESENT.token()), bearer(PRESENT.token(iat=now() + 1))
    assert (await rig.get("/endpoints/e/score", early)).status_code == 200
    before = versions(rig)
    await rig.router.apply(replace(route, auth=replace(TOKENS, tokens_not_before=now() + 1)))
    assert [key for key, version in versions(rig).items() if before[key] != version] == [(ResourceType.ROUTE, "ep/e")]
    assert_refused(await rig.get("/endpoints/e/score", early))
    assert (await rig.get("/endpoints/e/score", late)).status_code == 200


async def test_a_rotation_survives_a_restart_of_the_control_plane(rig: Rig) -> None:
    await rig.router.set_jwks(trust(PRESENT))
    route = token_endpoint(rig)
    await rig.router.apply(route)
    await rig.restart_control_plane(route, trust=trust(PRESENT, OLD))
    await until(lambda: rig.router.status().connected and not rig.router.status().pending)
    await rig.router.set_jwks(trust(PRESENT, OLD))  # returns once it is acknowledged
    for signer in (PRESENT, OLD):
        assert (await rig.get("/endpoints/e/score", bearer(signer.token()))).status_code == 200


async def test_no_token_is_in_any_file(rig: Rig) -> None:
    await rig.router.set_jwks(trust(PRESENT))
    await rig.router.apply(token_endpoint(rig))
    good, bad = PRESENT.token(), PRESENT.token("other")
    for token in (good, bad):
        await rig.get("/endpoints/e/score", bearer(token))
        await rig.get(f"/endpoints/e/score?access_token={token}", {})
    dump = await rig.admin.config_dump()
    log = (rig.folder / "envoy.log").read_text()
    for token in (good, bad):
        signature = token.rpartition(".")[2]
        assert signature not in dump
        assert signature not in log


def versions(rig: Rig) -> dict[Key, str]:
    snapshot = rig.router._snapshot
    return {(kind, name): r.version for kind in ResourceType for name, r in snapshot.resources(kind).items()}


def token_endpoint(rig: Rig) -> EndpointRoute:
    return replace(rig.endpoint(rig.deployment("blue", "b1"), blue=100), auth=TOKENS)
