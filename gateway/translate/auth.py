"""Who may call: the key check in Lua, and the backstop that makes every mistake fail closed.

Envoy's own ``api_key_auth`` holds plain keys, prints them in NACKs and takes them without ``Bearer``. Here only SHA-256
digests are in the configuration, per endpoint, so that regenerating a key is one small RouteConfiguration. What it
costs is in docs/decisions/gateway-auth-cost.md.

The Lua filter names the client in a header that is stripped from what clients send; the RBAC filter behind it lets
nothing pass without that header. An endpoint without auth configuration, and a failing script (which Envoy lets pass),
are both 401. Tokens are :mod:`gateway.translate.tokens`; they meet the same backstop.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from envoy.config.core.v3 import base_pb2
from envoy.config.rbac.v3 import rbac_pb2 as policy_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.routes import AuthMode, EndpointAuth
from gateway.translate import messages, names, tokens

LUA_FILTER = "envoy.filters.http.lua"
RBAC_FILTER = "envoy.filters.http.rbac"

_KEY_SCRIPTS = ("sha256.lua", "auth.lua", "response.lua")
_TOKEN_SCRIPT = "tokens"
"""The script of routes in token mode: the response's side alone. A request meets no Lua there."""


def key_filter() -> AnyMessage:
    """The Lua filter: the key check on requests, the model's errors on responses."""
    return messages.pack(
        lua_pb2.Lua(default_source_code=_source(*_KEY_SCRIPTS), source_codes={_TOKEN_SCRIPT: _source("response.lua")})
    )


def per_route(endpoint: str, auth: EndpointAuth) -> Iterator[tuple[str, AnyMessage]]:
    """What one endpoint accepts, by filter. Without digests nobody gets in."""
    if auth.mode is AuthMode.TOKEN:
        yield LUA_FILTER, messages.pack(lua_pb2.LuaPerRoute(name=_TOKEN_SCRIPT))
        yield tokens.FILTER, tokens.requirement()
        rules = _admit("token", _named(), tokens.holder(endpoint, auth.tokens_not_before))
        yield RBAC_FILTER, messages.pack(rbac_pb2.RBACPerRoute(rbac=rbac_pb2.RBAC(rules=rules)))
    else:
        config = lua_pb2.LuaPerRoute()
        # The digest is the key, so that the script looks one up without a table being made of all for each request.
        config.filter_context.update({digest: client for client, digest in auth.key_digests})
        yield LUA_FILTER, messages.pack(config)
        # Not even made for a request whose route is known from the start.
        yield tokens.FILTER, messages.pack(route_components_pb2.FilterConfig(disabled=True))


def backstop() -> AnyMessage:
    """Lets pass only what carries the name of a client the key check has proven."""
    no_token = policy_pb2.Principal(not_id=tokens.verified())
    return messages.pack(rbac_pb2.RBAC(rules=_admit("key", _named(), no_token)))


def _named() -> policy_pb2.Principal:
    return policy_pb2.Principal(header=route_components_pb2.HeaderMatcher(name=names.HEADER_CLIENT, present_match=True))


def _admit(name: str, *ids: policy_pb2.Principal) -> policy_pb2.RBAC:
    everything = policy_pb2.Principal(and_ids=policy_pb2.Principal.Set(ids=ids))
    policy = policy_pb2.Policy(permissions=[_one_host()], principals=[everything])
    return policy_pb2.RBAC(action=policy_pb2.RBAC.ALLOW, policies={name: policy})


def _source(*scripts: str) -> base_pb2.DataSource:
    folder = files("gateway.translate") / "lua"
    return base_pb2.DataSource(inline_string="\n".join((folder / s).read_text(encoding="utf-8") for s in scripts))


def _one_host() -> policy_pb2.Permission:
    """Envoy joins several Host headers with a comma; behind it they might be told apart again, and differently."""
    several = route_components_pb2.HeaderMatcher(name=":authority", string_match=string_pb2.StringMatcher(contains=","))
    return policy_pb2.Permission(not_rule=policy_pb2.Permission(header=several))
