"""What clients read when the gateway itself answers: ``{"error": {"code", "message"}}``, whatever went wrong.

Envoy's own answers are plain text with a status of its choosing. They are recognised by response flag where there is
one (a status can have several causes), else by status. Other answers written here or in Lua are JSON already and pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.wrappers_pb2 import UInt32Value


@dataclass(frozen=True, slots=True)
class Answer:
    """One error as a client sees it."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> str:
        """The JSON text."""
        return json.dumps({"error": {"code": self.code, "message": self.message}})


UNKNOWN_ENDPOINT = Answer(404, "EndpointNotFound", "There is no endpoint at this address.")
UNKNOWN_DEPLOYMENT = Answer(
    404,
    "DeploymentNotFound",
    "The endpoint has no deployment of the name given in the azureml-model-deployment header.",
)
NO_TRAFFIC = Answer(
    404,
    "NoTraffic",
    "No deployment of this endpoint has traffic. Give one a share, or name one in the azureml-model-deployment header.",
)
TOO_LARGE = Answer(413, "RequestTooLarge", "The request body is larger than this endpoint accepts.")
NO_GRPC = Answer(503, "NoGrpc", "No instance of the deployment answers gRPC.")
_NO_CREDENTIAL = Answer(
    401,
    "Unauthorized",
    "A credential is required: send 'Authorization: Bearer KEY' (or TOKEN).",
    (("www-authenticate", 'Bearer realm="penstock"'),),
)
_BAD_CREDENTIAL = (("www-authenticate", 'Bearer realm="penstock", error="invalid_token"'),)
_REFUSED = Answer(401, "Unauthorized", "The credential is not valid for this endpoint.", _BAD_CREDENTIAL)
_SAID = Answer(401, "Unauthorized", "%LOCAL_REPLY_BODY%", _BAD_CREDENTIAL)
"""The key check and the token check say themselves what is wrong, in a sentence of theirs."""

_BY_FLAG: tuple[tuple[tuple[str, ...], Answer], ...] = (
    # A request can carry several flags (a failed attempt, then a timeout): the most telling comes first.
    (
        ("SI", "UT", "UMSDR", "DT"),
        Answer(408, "RequestTimeout", "Nothing came within the deployment's request_timeout_ms."),
    ),
    (
        ("UO",),
        Answer(
            429,
            "TooManyRequests",
            "The deployment has as many requests pending as it accepts. Try again later.",
            (("retry-after", "1"),),
        ),
    ),
    (("UH", "NC"), Answer(503, "NoReadyInstance", "No instance of the deployment is ready to answer.")),
    (
        ("UF", "UC", "UR", "LR", "UPE", "URX"),
        Answer(502, "InstanceFailed", "The instance broke off the connection before it had answered."),
    ),
    (("NR",), UNKNOWN_ENDPOINT),
    (("OM",), Answer(503, "GatewayOverloaded", "The gateway is short of memory. Try again later.")),
)

_BY_STATUS: tuple[tuple[int, Answer], ...] = (
    (400, Answer(400, "BadRequest", "The request is not valid HTTP, or its path is not allowed.")),
    (408, Answer(408, "RequestTimeout", "The request was not received in time.")),
    (413, TOO_LARGE),
    (426, Answer(426, "UpgradeRequired", "This version of HTTP is not supported.")),
    # The rate limit; Retry-After is the endpoint's own (gateway.translate.limits).
    (429, Answer(429, "RateLimited", "This key has used up its requests for now. Try again later.")),
    (431, Answer(431, "HeadersTooLarge", "The request headers are larger than the gateway accepts.")),
    (500, Answer(500, "InternalError", "The gateway failed. Its log says why.")),
    (501, Answer(501, "NotImplemented", "A transfer coding other than chunked is not supported.")),
    (502, Answer(502, "InstanceFailed", "The instance's answer was not valid HTTP.")),
    (503, Answer(503, "ServiceUnavailable", "The gateway cannot serve this request now. Try again later.")),
    (504, Answer(504, "GatewayTimeout", "The gateway did not get an answer in time.")),
)

UPGRADE_REFUSED = Answer(
    403,
    "UpgradeRefused",
    "The connection is not upgraded: it takes WebSocket, the endpoint's property penstock.websocket and a deployment.",
)
MALFORMED_HOST = Answer(400, "BadRequest", "The request names more than one host.")

_GRPC_STATUS = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 426: 12, 429: 8, 431: 8, 500: 13, 501: 12, 504: 4}
"""gRPC's codes (grpc.github.io, "Status codes and their use in gRPC"). Envoy makes 404 UNIMPLEMENTED, and 429
UNAVAILABLE, which clients repeat at once."""
_GRPC_UNAVAILABLE = 14
_NO_GRPC_CREDENTIAL = Answer(
    401, "Unauthorized", "The credential is missing or not valid: send 'authorization: Bearer KEY' (or TOKEN)."
)
_GRPC_ONLY: tuple[tuple[int, Answer], ...] = (
    # To others the key check says these in JSON, and more precisely.
    (401, _NO_GRPC_CREDENTIAL),
    (403, _NO_GRPC_CREDENTIAL),
    (404, UNKNOWN_ENDPOINT),
)
_SPOKEN = (400, 404, 503)
"""Statuses that routes and scripts answer gRPC with in their own words."""
_AS_IT_IS = "%LOCAL_REPLY_BODY%"
_RUNTIME_KEY = "penstock.none"
"""Envoy insists on a runtime key beside every threshold; this one is never set."""


def local_reply_config() -> hcm.LocalReplyConfig:
    """The rewriting of Envoy's own answers. It costs nothing on requests an upstream answers."""
    return hcm.LocalReplyConfig(mappers=list(_mappers()), body_format=_format(_AS_IT_IS))


def _mappers() -> Iterator[hcm.ResponseMapper]:
    """The first that fits is used. gRPC has no status line to read: its clients get a code and a sentence."""
    grpc = _header("content-type", string_pb2.StringMatcher(prefix="application/grpc"))
    for flags, answer in _BY_FLAG:
        yield _mapper(_both(_flags(flags), grpc), answer, answer.message, _grpc_headers(answer))
    for status, answer in (*_GRPC_ONLY, *_BY_STATUS):
        text = _AS_IT_IS if status in _SPOKEN else answer.message
        yield _mapper(_both(_status(status), grpc), answer, text, _grpc_headers(answer))
    for flags, answer in _BY_FLAG:
        yield _mapper(_flags(flags), answer, answer.body(), answer.headers)
    upgrade = _both(_status(UPGRADE_REFUSED.status), _header("upgrade"))
    yield _mapper(upgrade, UPGRADE_REFUSED, UPGRADE_REFUSED.body(), ())
    hosts = _both(_status(403), _header(":authority", string_pb2.StringMatcher(contains=",")))
    yield _mapper(hosts, MALFORMED_HOST, MALFORMED_HOST.body(), ())
    # 403 is the backstop (gateway.translate.auth): a credential was genuine but not for here, or none was proven.
    anonymous = _header("authorization", absent=True)
    for status, named in ((401, _SAID), (403, _REFUSED)):
        for condition, answer in ((_both(_status(status), anonymous), _NO_CREDENTIAL), (_status(status), named)):
            yield _mapper(condition, answer, answer.body(), answer.headers)
    for status, answer in _BY_STATUS:
        yield _mapper(_status(status), answer, answer.body(), answer.headers)


def _mapper(
    condition: accesslog_pb2.AccessLogFilter, answer: Answer, text: str, headers: tuple[tuple[str, str], ...]
) -> hcm.ResponseMapper:
    return hcm.ResponseMapper(
        filter=condition,
        status_code=UInt32Value(value=answer.status),
        body_format_override=_format(text),
        headers_to_add=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=key, value=value),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for key, value in headers
        ],
    )


def _grpc_headers(answer: Answer) -> tuple[tuple[str, str], ...]:
    return (*answer.headers, ("grpc-status", str(_GRPC_STATUS.get(answer.status, _GRPC_UNAVAILABLE))))


def _both(*conditions: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=conditions))


def _flags(flags: tuple[str, ...]) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=flags))


def _status(status: int) -> accesslog_pb2.AccessLogFilter:
    comparison = accesslog_pb2.ComparisonFilter(
        op=accesslog_pb2.ComparisonFilter.EQ,
        value=base_pb2.RuntimeUInt32(default_value=status, runtime_key=_RUNTIME_KEY),
    )
    return accesslog_pb2.AccessLogFilter(status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=comparison))


def _header(
    name: str, value: string_pb2.StringMatcher | None = None, *, absent: bool = False
) -> accesslog_pb2.AccessLogFilter:
    matcher = route_components_pb2.HeaderMatcher(name=name, invert_match=absent)
    if value is None:
        matcher.present_match = True
    else:
        matcher.string_match.CopyFrom(value)
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _format(text: str) -> substitution_format_string_pb2.SubstitutionFormatString:
    return substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=text), content_type="application/json"
    )
