"""The other addresses of an endpoint, brought to the one its routes know.

Three requests reach an endpoint without beginning with ``/endpoints/NAME/``: the older address
(``/api/v1/service/NAME/score``), the address without anything behind it, and gRPC, whose path is the method. A script
rewrites their path and lets Envoy choose the route again. It is asked only where no route matched: every endpoint's
routes switch it off, so that ordinary requests do not pay for it.
"""

from __future__ import annotations

from importlib.resources import files

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from gateway.translate import messages

FILTER = "penstock.addresses"


def address_filter() -> AnyMessage:
    """The listener's side."""
    script = (files("gateway.translate") / "lua" / "addresses.lua").read_text(encoding="utf-8")
    return messages.pack(lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script)))


def known() -> AnyMessage:
    """The side of routes: the address is known."""
    return messages.pack(route_components_pb2.FilterConfig(disabled=True))
