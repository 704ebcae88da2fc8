"""The gateway's access log: one JSON object a line, in the words of endpoints and deployments."""

from __future__ import annotations

from pathlib import Path

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2

from gateway.translate import messages, names

FIELDS = {
    "time": "%START_TIME%",
    "endpoint": "%ROUTE_NAME%",
    "deployment": f"%RESP({names.HEADER_DEPLOYMENT})%",
    "instance": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "client": f"%REQ({names.HEADER_CLIENT})%",
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "protocol": "%PROTOCOL%",
    "code": "%RESPONSE_CODE%",
    "model_code": "%RESP(ms-azureml-model-error-statuscode)%",
    "duration_ms": "%DURATION%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "request_bytes": "%BYTES_RECEIVED%",
    "response_bytes": "%BYTES_SENT%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
}
"""Field -> Envoy's command operator. Numbers stay numbers. The credential is in none of them, and neither is the query:
it is data, and clients put credentials there by mistake."""


def access_log(path: Path) -> accesslog_pb2.AccessLog:
    """A log of every request, written to ``path``."""
    layout = substitution_format_string_pb2.SubstitutionFormatString(omit_empty_values=True)
    layout.json_format.update(FIELDS)
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.file",
        typed_config=messages.pack(file_pb2.FileAccessLog(path=str(path), log_format=layout)),
    )
