"""The receiver of Envoy's access log: one short line a request, counted by deployment, kept by nobody.

Envoy sends lines we format ourselves (its OpenTelemetry logger), a tenth of the bytes and a third of the work of its
structured log; see docs/decisions/gateway-signals.md for the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from gateway.traffic import SLOT_S, Outcome, RequestFigures, Traffic
from gateway.translate import names

_SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
_METHOD = "Export"
_SCOPES = logs_pb2.ResourceLogs.DESCRIPTOR.fields_by_number[2].name
"""Renamed between versions of the protocol, with the same number and content."""
_RECORDS = logs_pb2.ResourceLogs.DESCRIPTOR.fields_by_number[2].message_type.fields_by_number[2].name
_CODES = range(100, 1000)
_OK = Outcome(200, 200)
_GRPC_OK = ("-", "0")
"""No gRPC, or OK."""
_GRPC = {
    "1": Outcome(499, 0),
    "3": Outcome(424, 400),
    "4": Outcome(408, 0),
    "5": Outcome(404, 0),
    "7": Outcome(403, 0),
    "8": Outcome(429, 0),
    "12": Outcome(424, 501),
    "13": Outcome(424, 500),
    "14": Outcome(503, 0),
    "16": Outcome(401, 0),
}
"""gRPC's codes as what the same would be over HTTP. Of a deployment's answers, only the model gives those with 424."""
_GRPC_OTHER = Outcome(424, 500)
_ANSWER = b""


class AccessLogs:
    """Requests by endpoint and deployment. Belongs to one event loop."""

    def __init__(self, knows: Callable[[str, str], bool], clock: Callable[[], float]) -> None:
        """``knows`` tells whether (endpoint, deployment or "") exists; ``clock`` is monotonic seconds."""
        self._knows = knows
        self._clock = clock
        self._since = clock()
        self._traffic: dict[str, Traffic] = {}
        self._unrouted: dict[int, int] = {}

    def requests(self, endpoint: str, deployment: str = "") -> RequestFigures:
        """What is known of a deployment; without one, of the requests that the gateway answered before choosing one.

        These are refused ones mostly: no credential, no traffic, an unknown deployment.
        """
        now = self._clock()
        traffic = self._traffic.get(names.cluster_name(endpoint, deployment or names.NOBODY))
        return (traffic or Traffic(self._since)).figures(now)

    @property
    def unrouted(self) -> Mapping[int, int]:
        """Requests to no known endpoint, by status, since the control plane started."""
        return self._unrouted

    def __len__(self) -> int:
        """How many deployments (and endpoints, for refused requests) are kept."""
        return len(self._traffic)

    def record(self, lines: Iterable[str]) -> None:
        """Count requests; the form of a line is :data:`gateway.translate.access_log.LINE`."""
        slot = int(self._clock() // SLOT_S)
        for line in lines:
            name, code, microseconds, model_code, *more = line.split(" ")
            traffic = self._traffic.get(name) or self._first(name)
            # Only the model says 200, and the gateway spares itself the noting of it.
            outcome = _of_200(more) if code == "200" else Outcome(_code(code), _code(model_code))
            if traffic is None:
                self._unrouted[outcome.code] = self._unrouted.get(outcome.code, 0) + 1
            else:
                traffic.record(slot, outcome, int(microseconds) if microseconds.isdecimal() else None)

    def prune(self) -> None:
        """Forget what was removed, and what is no longer lately."""
        slot = int(self._clock() // SLOT_S)
        gone = []
        for name, traffic in self._traffic.items():
            if self._is_known(name):
                traffic.expire(slot)
            else:
                gone.append(name)
        for name in gone:
            del self._traffic[name]

    def service(self) -> grpc.GenericRpcHandler:
        """The gRPC service, for the server that Envoys connect to. It works on bytes: most of a message is ours."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._export)
        return grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler})

    async def _export(self, request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.record(decode(request))
        return _ANSWER

    def _first(self, name: str) -> Traffic | None:
        if not self._is_known(name):
            return None
        traffic = self._traffic[name] = Traffic(self._since)
        return traffic

    def _is_known(self, name: str) -> bool:
        endpoint, deployment = names.cluster_parts(name)
        return self._knows(endpoint, "" if deployment == names.NOBODY else deployment)


def decode(request: bytes) -> Iterator[str]:
    """The lines in one export."""
    message: Any = logs_service_pb2.ExportLogsServiceRequest.FromString(request)
    for resource in message.resource_logs:
        for scope in getattr(resource, _SCOPES):
            for record in getattr(scope, _RECORDS):
                yield record.body.string_value


def _of_200(more: list[str]) -> Outcome:
    """``more``: gRPC's code, if the gateway that wrote the line tells it."""
    grpc_code = more[0] if more else "-"
    return _OK if grpc_code in _GRPC_OK else _GRPC.get(grpc_code, _GRPC_OTHER)


def _code(text: str) -> int:
    """A status; 0 for none, and for what is not one."""
    code = int(text) if text.isdecimal() and len(text) == 3 else 0  # noqa: PLR2004  # digits of a status
    return code if code in _CODES else 0
