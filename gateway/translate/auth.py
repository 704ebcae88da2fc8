"""Who may call: the key check in Lua, and the backstop that makes every mistake in it fail closed.

Envoy's own ``api_key_auth`` holds plain keys, prints them in NACKs and takes them without ``Bearer``. Here only SHA-256
digests are in the configuration, per endpoint, so that regenerating a key is one small RouteConfiguration. Measured:
80 to 95 us CPU a request in all, against 63 with no hashing.

The Lua filter names the client in a header that is stripped from what clients send; the RBAC filter behind it lets
nothing pass without that header. An endpoint without auth configuration, and a failing script (which Envoy lets pass),
are both 401.
"""

from __future__ import annotations

from importlib.resources import files

from envoy.config.core.v3 import base_pb2
from envoy.config.rbac.v3 import rbac_pb2 as policy_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.routes import EndpointAuth
from gateway.translate import messages, names

LUA_FILTER = "envoy.filters.http.lua"
RBAC_FILTER = "envoy.filters.http.rbac"

_SCRIPTS = ("sha256.lua", "auth.lua", "response.lua")


def key_filter() -> AnyMessage:
    """The Lua filter: the key check on requests, the model's errors on responses."""
    folder = files("gateway.translate") / "lua"
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return messages.pack(lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script)))


def per_route(auth: EndpointAuth) -> AnyMessage:
    """What one endpoint accepts. Without digests nobody gets in."""
    config = lua_pb2.LuaPerRoute()
    config.filter_context.update({"keys": {digest: client for client, digest in auth.key_digests}})
    return messages.pack(config)


def backstop() -> AnyMessage:
    """Lets pass only what carries the name of a client the key check has proven."""
    proven = policy_pb2.Principal(
        header=route_components_pb2.HeaderMatcher(name=names.HEADER_CLIENT, present_match=True)
    )
    policy = policy_pb2.Policy(permissions=[_one_host()], principals=[proven])
    rules = policy_pb2.RBAC(action=policy_pb2.RBAC.ALLOW, policies={"proven-client": policy})
    return messages.pack(rbac_pb2.RBAC(rules=rules))


def _one_host() -> policy_pb2.Permission:
    """Envoy joins several Host headers with a comma; behind it they might be told apart again, and differently."""
    several = route_components_pb2.HeaderMatcher(name=":authority", string_match=string_pb2.StringMatcher(contains=","))
    return policy_pb2.Permission(not_rule=policy_pb2.Permission(header=several))
