"""What a client gets, status by status, from the real Envoy."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from gateway.routes import EndpointAuth, Mirror
from gateway.translate import access_log
from tests.integration.gateway.rig import BEARER, KEY, OTHER_KEY, Rig, digest, until

pytestmark = pytest.mark.integration

SCORE = "/endpoints/e/score"


def error_code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert body["error"]["message"].endswith((".", "'."))
    return str(body["error"]["code"])


async def serve(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))


async def test_the_upstream_gets_the_rest_of_the_path_and_the_clients_name(rig: Rig) -> None:
    await serve(rig)
    response = await rig.get(
        "/endpoints/e/a/b.json?x=1&y=%20", x_penstock_client="root", x_envoy_max_retries="9", x_request_id="mine-1"
    )
    assert response.status_code == 200
    assert response.headers["azureml-model-deployment"] == "blue"
    assert response.headers["x-request-id"] == "mine-1"
    assert not [name for name in response.headers if name.startswith(("x-envoy", "x-penstock"))]
    seen = response.json()
    assert seen["path"] == "/a/b.json?x=1&y=%20"
    assert seen["headers"]["x-penstock-client"] == "primary"
    assert seen["headers"]["authorization"] == f"Bearer {KEY}"
    assert seen["headers"]["x-request-id"] == "mine-1"
    assert "x-envoy-max-retries" not in seen["headers"]


async def test_the_address_without_a_rest_is_the_root(rig: Rig) -> None:
    await serve(rig)
    assert (await rig.get("/endpoints/e")).json()["path"] == "/"
    assert (await rig.get("/endpoints/e/")).json()["path"] == "/"


async def test_who_is_let_in(rig: Rig) -> None:
    await serve(rig)
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), name="other", blue=100))
    nobody = replace(rig.endpoint(rig.deployment("blue", "b1"), name="nobody", blue=100), auth=EndpointAuth())
    await rig.router.apply(nobody)
    table: list[tuple[str, list[tuple[str, str]], int]] = [
        ("the primary key", [("authorization", f"Bearer {KEY}")], 200),
        ("the secondary key", [("authorization", f"Bearer {OTHER_KEY}")], 200),
        ("any case of the scheme", [("Authorization", f"bEARER {KEY}")], 200),
        ("several spaces", [("authorization", f"Bearer   {KEY}")], 200),
        ("no credential", [], 401),
        ("an empty credential", [("authorization", "")], 401),
        ("the scheme alone", [("authorization", "Bearer")], 401),
        ("no scheme", [("authorization", KEY)], 401),
        ("another scheme", [("authorization", f"Basic {KEY}")], 401),
        ("a wrong key", [("authorization", f"Bearer {KEY[:-1]}x")], 401),
        ("a part of the key", [("authorization", f"Bearer {KEY[:-1]}")], 401),
        ("more than the key", [("authorization", f"Bearer {KEY}x")], 401),
        ("two words", [("authorization", f"Bearer {KEY} {KEY}")], 401),
        ("two headers, right last", [("authorization", "Bearer x"), ("authorization", f"Bearer {KEY}")], 401),
        ("two headers, right first", [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")], 401),
        ("a list", [("authorization", f"Bearer {KEY},Bearer {KEY}")], 401),
        ("an endless key", [("authorization", "Bearer " + "x" * 20_000)], 401),
        ("the digest", [("authorization", f"Bearer {digest(KEY)}")], 401),
        ("claimed to be proven", [("x-penstock-client", "primary")], 401),
        ("claimed with underscores", [("x_penstock_client", "primary")], 401),
    ]
    for what, headers, status in table:
        response = await rig.client.get(SCORE, headers=headers)
        assert response.status_code == status, what
        if status == 401:
            assert error_code(response) == "Unauthorized", what
            assert response.headers["www-authenticate"].startswith('Bearer realm="penstock"'), what
            assert "azureml-model-deployment" not in response.headers, what
    # Twice: the second is answered from the digest cache, which must not carry a key to another endpoint.
    for _ in range(2):
        assert (await rig.get("/endpoints/nobody/score")).status_code == 401


async def test_any_key_that_can_be_chosen_opens(rig: Rig) -> None:
    """Every character the API allows in a key, in the gateway's pattern too."""
    key = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != ",")
    auth = EndpointAuth(key_digests=(("primary", digest(key)),))
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", "b1"), blue=100), auth=auth))
    for _ in range(2):
        assert (await rig.client.get(SCORE, headers={"authorization": f"Bearer {key}"})).status_code == 200


async def test_a_cached_key_does_not_open_another_endpoint(rig: Rig) -> None:
    await serve(rig)
    secret = EndpointAuth(key_digests=(("primary", "0a" * 32),))
    closed = replace(rig.endpoint(rig.deployment("blue", "b1"), name="closed", blue=100), auth=secret)
    await rig.router.apply(closed)
    assert (await rig.get(SCORE)).status_code == 200
    assert (await rig.get("/endpoints/closed/score")).status_code == 401


async def test_a_regenerated_key_is_refused_at_once(rig: Rig) -> None:
    await serve(rig)
    assert (await rig.get(SCORE)).status_code == 200
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    only_secondary = EndpointAuth(key_digests=(route.auth.key_digests[1],))
    await rig.router.apply(replace(route, auth=only_secondary))
    assert (await rig.get(SCORE)).status_code == 401
    assert (await rig.get(SCORE, {"authorization": f"Bearer {OTHER_KEY}"})).status_code == 200


async def test_the_key_is_in_no_file_and_no_dump(rig: Rig) -> None:
    await serve(rig)
    await rig.get(SCORE)
    await rig.get(SCORE, {"authorization": f"Basic {KEY}"})
    await asyncio.sleep(0)
    assert KEY not in await rig.admin.config_dump()
    for file in rig.folder.iterdir():
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


async def test_without_traffic_and_without_instances(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1")))
    response = await rig.get(SCORE)
    assert (response.status_code, error_code(response)) == (404, "NoTraffic")
    assert (await rig.get(SCORE, azureml_model_deployment="blue")).status_code == 200
    await rig.router.apply(rig.endpoint(rig.deployment("blue"), blue=100))
    response = await rig.get(SCORE)
    assert (response.status_code, error_code(response)) == (503, "NoReadyInstance")


async def test_a_request_can_pick_its_deployment(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), rig.deployment("green", "g1"), blue=100))
    for name, instance in (("blue", "b1"), ("green", "g1")):
        response = await rig.get(SCORE, azureml_model_deployment=name)
        assert (response.json()["instance"], response.headers["azureml-model-deployment"]) == (instance, name)
    response = await rig.get(SCORE, azureml_model_deployment="red")
    assert (response.status_code, error_code(response)) == (404, "DeploymentNotFound")


async def test_a_slow_deployment_is_given_up_by_its_own_timeout(rig: Rig) -> None:
    quick = replace(rig.deployment("quick", "q1"), request_timeout_ms=50)
    await rig.router.apply(rig.endpoint(quick, rig.deployment("patient", "p1"), quick=50, patient=50))
    response = await rig.get("/endpoints/e/slow/300", azureml_model_deployment="quick")
    assert (response.status_code, error_code(response)) == (408, "RequestTimeout")
    assert response.headers["azureml-model-deployment"] == "quick"
    shared = [await rig.get("/endpoints/e/slow/300") for _ in range(8)]
    outcomes = {(r.headers["azureml-model-deployment"], r.status_code) for r in shared}
    assert outcomes <= {("quick", 408), ("patient", 200)}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit(rig: Rig, chunked: bool) -> None:
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(replace(route, max_request_bytes=100_000))
    fits, large = b"x" * 100_000, b"x" * 100_001

    def body(content: bytes) -> dict[str, object]:
        async def pieces() -> object:
            for start in range(0, len(content), 10_000):
                yield content[start : start + 10_000]

        return {"content": pieces() if chunked else content}

    response = await rig.client.post(SCORE, headers=BEARER, **body(fits))  # type: ignore[arg-type]
    assert (response.status_code, response.json()["bytes"]) == (200, 100_000)
    response = await rig.client.post(SCORE, headers=BEARER, **body(large))  # type: ignore[arg-type]
    assert (response.status_code, error_code(response)) == (413, "RequestTooLarge")


async def test_more_pending_than_it_accepts(rig: Rig) -> None:
    two_by_two = replace(rig.deployment("blue", "b1", "b2"), max_concurrent_requests_per_instance=2)
    await rig.router.apply(rig.endpoint(two_by_two, blue=100))
    answers = await asyncio.gather(*(rig.get("/endpoints/e/slow/400") for _ in range(30)))
    counts = Counter(response.status_code for response in answers)
    assert counts == {200: 8, 429: 22}
    refused = next(response for response in answers if response.status_code == 429)
    assert (error_code(refused), refused.headers["retry-after"]) == ("TooManyRequests", "1")


async def test_the_models_errors_are_told_apart(rig: Rig) -> None:
    await serve(rig)
    table = [
        ("code/200", 200, None),
        ("code/202", 202, None),
        ("code/204", 204, None),
        ("code/302", 424, "302"),
        ("code/400", 424, "400"),
        ("code/401", 424, "401"),
        ("code/404", 424, "404"),
        ("code/500", 424, "500"),
        ("code/503", 424, "503"),
        ("code/429", 429, None),
        ("challenge", 401, None),
    ]
    for path, status, model in table:
        response = await rig.get(f"/endpoints/e/{path}")
        assert response.status_code == status, path
        assert response.headers.get("ms-azureml-model-error-statuscode") == model, path
        assert response.headers.get("ms-azureml-model-error-reason") == (model and "model_error"), path
        if status != 204:
            assert response.json()["instance"] == "b1", path  # the model's own body
        if status == 429:
            assert response.headers["retry-after"] == "1"


async def test_an_instance_that_hangs_up(rig: Rig) -> None:
    await serve(rig)
    response = await rig.get("/endpoints/e/drop")
    assert (response.status_code, error_code(response)) == (502, "InstanceFailed")


async def test_the_split_is_exact(rig: Rig) -> None:
    """10,000 requests at 90/10, within 3 sigma; 20 % mirrored, and none of the pinned ones."""
    blue, green, shadow = rig.deployment("blue", "b1"), rig.deployment("green", "g1"), rig.deployment("shadow", "s1")
    route = replace(rig.endpoint(blue, green, shadow, blue=90, green=10), mirror=Mirror("shadow", 20))
    await rig.router.apply(route)
    load, pinned = rig.load(), rig.load()
    load.limit = 10_000
    await load.run()
    assert (load.failures, load.total) == (0, 10_000)
    assert abs(load.deployments["green"] - 1_000) <= 3 * math.sqrt(10_000 * 0.1 * 0.9)

    async def mirrored() -> int:
        return int((await rig.get("/endpoints/e/count", azureml_model_deployment="shadow")).json()["count"])

    sigma = math.sqrt(10_000 * 0.2 * 0.8)
    await until_steady(mirrored)
    before = await mirrored()
    assert abs(before - 2_000) <= 3 * sigma
    pinned.limit = 300
    pinned.headers["azureml-model-deployment"] = "blue"
    await pinned.run()
    assert await mirrored() == before


async def until_steady(value: object) -> None:
    last = [-1]

    async def steady() -> bool:
        now = await value()  # type: ignore[operator]
        same, last[0] = now == last[0], now
        await asyncio.sleep(0.02)
        return bool(same)

    await until(steady)


async def test_the_access_log_speaks_of_endpoints(rig: Rig) -> None:
    await serve(rig)
    answer = await rig.get(f"{SCORE}?x=1", x_request_id="find-me", x_ms_client_request_id="mine")
    await rig.get("/endpoints/e/code/500")
    await rig.get(SCORE, {})

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in rig.settings.access_log.read_text().splitlines()]

    await until(lambda: len(lines()) == 3)
    scored, failed, refused = lines()
    hosted = set(list(access_log.FIELDS)[:18])
    assert (scored["EndpointName"], scored["DeploymentName"], scored["InstanceName"]) == ("e", "blue", "b1")
    assert (scored["Method"], scored["Path"], scored["Protocol"]) == ("GET", "/endpoints/e/score", "HTTP/1.1")
    assert (scored["ResponseCode"], scored["ResponseCodeReason"]) == (200, "via_upstream")
    assert (scored["ModelStatusCode"], scored["RequestThrottlingDelayMs"]) == (200, 0)
    assert (scored["XRequestId"], scored["XMSClientRequestId"]) == ("find-me", "mine")
    assert scored["UserAgent"].startswith("python-httpx/")  # type: ignore[attr-defined]
    for field in ("TotalDurationMs", "RequestDurationMs", "ResponseDurationMs", "RequestPayloadSize"):
        assert isinstance(scored[field], int), field
    assert scored["ResponsePayloadSize"] == len(answer.content)
    assert hosted - scored.keys() == {"ModelStatusReason"}
    assert (failed["ResponseCode"], failed["ModelStatusCode"]) == (424, 500)
    assert failed["ModelStatusReason"] == "model_error"
    assert (refused["ResponseCode"], refused["EndpointName"], refused.get("DeploymentName")) == (401, "e", None)
    assert "ModelStatusCode" not in refused
    assert KEY not in rig.settings.access_log.read_text()


async def test_only_our_own_user_may_touch_the_control_sockets(rig: Rig) -> None:
    for path in (rig.settings.ads_socket, rig.settings.admin_socket):
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(rig.settings.admin_socket))
