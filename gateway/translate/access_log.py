"""The gateway's access logs: a file for people, in the words of the hosted service, and a line for the figures.

The file has the fields of the hosted service's traffic log (AmlOnlineEndpointTrafficLog), so that queries written for
that work, and a few of our own behind them. The line goes to the control plane (:mod:`gateway.access_logs`).
"""

from __future__ import annotations

from pathlib import Path

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, grpc_service_pb2, substitution_format_string_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from gateway.translate import messages, names

_MODEL_CODE = f"%DYNAMIC_METADATA({names.METADATA}:{names.METADATA_MODEL_CODE})%"

_GRPC_STATUS = "%GRPC_STATUS_NUMBER%"

FIELDS = {
    "Method": "%REQ(:METHOD)%",
    "Path": "%PATH(NQ:ORIG_OR_PATH)%",
    "Protocol": "%PROTOCOL%",
    "ResponseCode": "%RESPONSE_CODE%",
    "ResponseCodeReason": "%RESPONSE_CODE_DETAILS%",
    "ModelStatusCode": _MODEL_CODE,
    "ModelStatusReason": "%RESP(ms-azureml-model-error-reason)%",
    "RequestPayloadSize": "%BYTES_RECEIVED%",
    "ResponsePayloadSize": "%BYTES_SENT%",
    "UserAgent": "%REQ(USER-AGENT)%",
    "XRequestId": "%REQ(X-REQUEST-ID)%",
    "XMSClientRequestId": "%REQ(X-MS-CLIENT-REQUEST-ID)%",
    "TotalDurationMs": "%DURATION%",
    "RequestDurationMs": "%REQUEST_DURATION%",
    "ResponseDurationMs": "%RESPONSE_DURATION%",
    # The gateway never slows a transfer down.
    "RequestThrottlingDelayMs": 0,
    "EndpointName": "%ROUTE_NAME%",
    "DeploymentName": f"%RESP({names.HEADER_DEPLOYMENT})%",
    # Ours.
    "Time": "%START_TIME%",
    "InstanceName": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "ClientName": f"%REQ({names.HEADER_CLIENT})%",
    "RemoteAddress": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "Attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ResponseFlags": "%RESPONSE_FLAGS%",
    "GrpcStatus": _GRPC_STATUS,
}
"""Field -> Envoy's command operator. Numbers stay numbers; what has no value is left out.

The credential is in none, and neither is the query: it is data, and clients put credentials there by mistake."""

LINE = (
    f"%ROUTE_NAME%/%RESP({names.HEADER_DEPLOYMENT})% %RESPONSE_CODE% %COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)% "
    f"{_MODEL_CODE} {_GRPC_STATUS}"
)
"""Cluster (either part ``-`` where there is none), status, microseconds from the first byte in to the last one out,
the model's status (``-`` for 200, which only the model says), gRPC's code (``-`` for HTTP). Nothing that a client or a
model can choose is in it."""

FLUSH_MS = 200
"""Figures are that old at most. What was not flushed when Envoy is killed is in the file alone, if at all."""
_OK = 200
_BUFFER_BYTES = 64 * 1024


def access_logs(path: Path) -> list[accesslog_pb2.AccessLog]:
    """The logs of every request: the file at ``path``, and the lines for the control plane."""
    control = grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=names.CONTROL_CLUSTER)
    lines = logs_service_pb2.OpenTelemetryAccessLogConfig(
        common_config=als_pb2.CommonGrpcAccessLogConfig(
            log_name=names.LISTENER,
            grpc_service=grpc_service_pb2.GrpcService(envoy_grpc=control),
            transport_api_version="V3",
            buffer_flush_interval=messages.duration(FLUSH_MS),
            buffer_size_bytes=UInt32Value(value=_BUFFER_BYTES),
        ),
        disable_builtin_labels=True,
    )
    lines.body.string_value = LINE
    return [
        # Only the model says 200, so that this is known without a script having noted it: see response.lua. Every
        # answer over gRPC is a 200.
        _file(path, _all(_status(accesslog_pb2.ComparisonFilter.EQ), _grpc(called=False)), _OK),
        _file(path, _any(_status(accesslog_pb2.ComparisonFilter.NE), _grpc(called=True)), _MODEL_CODE),
        accesslog_pb2.AccessLog(name="envoy.access_loggers.open_telemetry", typed_config=messages.pack(lines)),
    ]


def _file(path: Path, which: accesslog_pb2.AccessLogFilter, model_code: str | int) -> accesslog_pb2.AccessLog:
    layout = substitution_format_string_pb2.SubstitutionFormatString(omit_empty_values=True)
    layout.json_format.update(FIELDS | {"ModelStatusCode": model_code})
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.file",
        typed_config=messages.pack(file_pb2.FileAccessLog(path=str(path), log_format=layout)),
        filter=which,
    )


def _status(comparison: accesslog_pb2.ComparisonFilter.Op) -> accesslog_pb2.AccessLogFilter:
    """Requests whose status is 200, or is not."""
    status = accesslog_pb2.ComparisonFilter(
        op=comparison, value=base_pb2.RuntimeUInt32(default_value=_OK, runtime_key="penstock.none")
    )
    return accesslog_pb2.AccessLogFilter(status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=status))


def _grpc(*, called: bool) -> accesslog_pb2.AccessLogFilter:
    matcher = route_components_pb2.HeaderMatcher(
        name="content-type",
        string_match=string_pb2.StringMatcher(prefix="application/grpc"),
        invert_match=not called,
        treat_missing_header_as_empty=True,
    )
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _all(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=filters))


def _any(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(or_filter=accesslog_pb2.OrFilter(filters=filters))
