"""Whatever is broken in the gateway's own configuration, nobody gets in who should not."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.routes import AuthMode, EndpointAuth, EndpointRoute, RouteRefusedError
from gateway.snapshot import Resource
from gateway.translate import auth, messages, tokens
from gateway.translate.route import route_configuration
from tests.integration.gateway.rig import AUTH, BEARER, KEY, OTHER_KEY, Rig, digest
from tests.integration.gateway.signing import Signer, trust

pytestmark = pytest.mark.integration

OTHER_BEARER = {"authorization": f"Bearer {OTHER_KEY}"}


async def test_an_endpoint_without_auth_configuration(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(route: EndpointRoute) -> Resource:
        whole = route_configuration(route)
        message = route_pb2.RouteConfiguration.FromString(whole.body)
        for host in message.virtual_hosts:
            host.typed_per_filter_config.clear()
        return messages.resource(whole.type, whole.name, message, whole.refs)

    monkeypatch.setattr("gateway.router.route_configuration", bare)
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    assert (await rig.get("/endpoints/e/score")).status_code == 401


async def test_half_an_auth_configuration_lets_nobody_in_who_should_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any part of it may be missing, whichever way the endpoint authenticates."""
    present, foreign = Signer("present"), Signer("foreign")
    parts = (auth.LUA_FILTER, tokens.FILTER, auth.RBAC_FILTER)
    missing = [lost for count in range(1, 4) for lost in itertools.combinations(parts, count)]

    def halved(route: EndpointRoute) -> Resource:
        whole = route_configuration(route)
        message = route_pb2.RouteConfiguration.FromString(whole.body)
        for part in missing[int(route.name[1:])]:
            message.virtual_hosts[0].typed_per_filter_config.pop(part, None)
        return messages.resource(whole.type, whole.name, message, whole.refs)

    await rig.router.set_jwks(trust(present))
    monkeypatch.setattr("gateway.router.route_configuration", halved)
    blue = rig.deployment("blue", "b1")
    ways = {"k": AUTH, "t": EndpointAuth(AuthMode.TOKEN, tokens_not_before=int(time.time()) - 60)}
    let_in = []
    for (prefix, way), number in itertools.product(ways.items(), range(len(missing))):
        name = f"{prefix}{number}"
        await rig.router.apply(replace(rig.endpoint(blue, name=name, blue=100), auth=way))
        await rig.arrived()
        strangers = {
            "nobody": {},
            "a wrong key": {"authorization": f"Bearer {KEY[:-1]}x"},
            "a claim": {"x-penstock-client": "primary"},
            "a token of another endpoint": {"authorization": f"Bearer {present.token('other')}"},
            "a token of another signer": {"authorization": f"Bearer {foreign.token(name)}"},
            "a token that was revoked": {"authorization": f"Bearer {present.token(name, iat=int(time.time()) - 90)}"},
            # What opens an endpoint of the other kind.
            "the other way": BEARER if prefix == "t" else {"authorization": f"Bearer {present.token(name)}"},
        }
        for who, headers in strangers.items():
            status = (await rig.get(f"/endpoints/{name}/score", headers)).status_code
            if status != 401:
                let_in.append((missing[number], prefix, who, status))
    assert let_in == []


@pytest.mark.parametrize("script", ["function envoy_on_request(handle) error('broken') end", "-- nothing"])
async def test_a_key_check_that_fails_or_is_missing(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy lets a request go on when a script fails; the filter behind does not."""

    def broken() -> AnyMessage:
        return messages.pack(lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script)))

    monkeypatch.setattr("gateway.translate.auth.key_filter", broken)
    async with Rig() as rig:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
        response = await rig.get("/endpoints/e/score")
        assert (response.status_code, response.json()["error"]["code"]) == (401, "Unauthorized")
        assert response.headers["www-authenticate"] == 'Bearer realm="penstock", error="invalid_token"'
        assert (await rig.get("/endpoints/e/score", x_penstock_client="primary")).status_code == 401


async def test_a_refused_configuration_tells_no_secret(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy repeats what it refuses, in its answer and in its log: neither key nor token can be in it."""
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
    await rig.get("/endpoints/e/score")

    def refused(route: EndpointRoute) -> Resource:
        whole = route_configuration(route)
        message = route_pb2.RouteConfiguration.FromString(whole.body)
        message.virtual_hosts[0].ClearField("domains")
        return messages.resource(whole.type, whole.name, message, whole.refs)

    monkeypatch.setattr("gateway.router.route_configuration", refused)
    with pytest.raises(RouteRefusedError, match="The gateway refused the configuration") as caught:
        await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", "b1"), blue=100), max_request_bytes=1000))
    said = (rig.folder / "envoy.log").read_text()
    assert "rejected" in said
    for text in (said, str(caught.value), str(rig.router.status())):
        assert KEY not in text
    assert digest(KEY) not in str(caught.value) + str(rig.router.status())
    assert (await rig.get("/endpoints/e/score")).status_code == 200


@pytest.mark.parametrize(("everything", "statuses"), [(False, (401, 200)), (True, (404, 404))])
async def test_a_key_that_was_revoked_opens_nothing_whatever_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, everything: bool, statuses: tuple[int, int]
) -> None:
    """The change that revokes it is refused for another reason. What served before goes on, for those who may call."""
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(route)
    assert (await rig.get("/endpoints/e/score")).status_code == 200

    def refused(route: EndpointRoute) -> Resource:
        whole = route_configuration(route)
        message = route_pb2.RouteConfiguration.FromString(whole.body)
        if everything or route.max_request_bytes == 1000:
            message.virtual_hosts[0].ClearField("domains")
        return messages.resource(whole.type, whole.name, message, whole.refs)

    monkeypatch.setattr("gateway.router.route_configuration", refused)
    only_other = EndpointAuth(key_digests=(route.auth.key_digests[1],))
    with pytest.raises(RouteRefusedError):
        await rig.router.apply(replace(route, max_request_bytes=1000, auth=only_other))
    got = [(await rig.get("/endpoints/e/score", headers)).status_code for headers in (BEARER, OTHER_BEARER)]
    assert tuple(got) == statuses
