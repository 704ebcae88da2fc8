"""The LRS server: once a second every Envoy says how many requests each host works on.

What is kept is each gateway's latest report and the totals. A gateway that is silent for three intervals counts for
nothing, so no gauge gets stuck when one is killed; a deployment that is removed is forgotten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import grpc
import grpc.aio
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration

from gateway.ads_port import peer_name
from gateway.load import DeploymentLoad, Load
from gateway.translate import names

INTERVAL_S = 1
STALE_INTERVALS = 3

_SERVICE = "envoy.service.load_stats.v3.LoadReportingService"
_METHOD = "StreamLoadStats"
_Context = grpc.aio.ServicerContext[lrs_pb2.LoadStatsRequest, lrs_pb2.LoadStatsResponse]


@dataclass(frozen=True, slots=True)
class ClusterLoad:
    """What one report says of one deployment that has load."""

    load: Load
    hosts: tuple[tuple[str, Load], ...]


@dataclass(eq=False, slots=True)
class _Gateway:
    """One stream, and the latest it said."""

    node: str = ""
    at: float = 0.0
    clusters: dict[str, ClusterLoad] = field(default_factory=dict)


class LoadReports:
    """What the gateways that reported lately said. Belongs to one event loop."""

    def __init__(self, knows: Callable[[str, str], bool], clock: Callable[[], float]) -> None:
        """``knows`` tells whether (endpoint, deployment) exists; ``clock`` is monotonic seconds."""
        self._knows = knows
        self._clock = clock
        self._gateways: set[_Gateway] = set()
        self._totals: dict[str, Load] = {}

    def load(self, endpoint: str, deployment: str) -> DeploymentLoad | None:
        """The load of a deployment; None when no gateway has reported lately, which is not the same as no load."""
        fresh = [gateway for gateway in self._gateways if self._is_fresh(gateway)]
        if not fresh or not self._knows(endpoint, deployment):
            return None
        cluster = names.cluster_name(endpoint, deployment)
        now = Load()
        hosts: dict[str, Load] = {}
        for gateway in fresh:
            said = gateway.clusters.get(cluster)
            if said is not None:
                now += said.load
                for address, load in said.hosts:
                    hosts[address] = hosts.get(address, Load()) + load
        return DeploymentLoad(now, hosts, self._totals.get(cluster, Load()), len(fresh))

    @property
    def gateways(self) -> int:
        """How many reported lately."""
        return sum(self._is_fresh(gateway) for gateway in self._gateways)

    def service(self) -> grpc.GenericRpcHandler:
        """The gRPC service, for the server that Envoys connect to."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.serve,
            request_deserializer=lrs_pb2.LoadStatsRequest.FromString,
            response_serializer=lrs_pb2.LoadStatsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler})

    async def serve(self, requests: AsyncIterator[lrs_pb2.LoadStatsRequest], context: _Context) -> None:
        """Ask one Envoy for its reports, and take them until it goes."""
        gateway = _Gateway()
        try:
            async for message in requests:
                if not gateway.node:
                    gateway.node = peer_name(context) or message.node.id or "unnamed"
                    self._replace(gateway)
                    await context.write(
                        lrs_pb2.LoadStatsResponse(
                            send_all_clusters=True,
                            load_reporting_interval=Duration(seconds=INTERVAL_S),
                            report_endpoint_granularity=True,
                        )
                    )
                else:
                    self._take(gateway, message)
        finally:
            self._gateways.discard(gateway)

    def prune(self) -> None:
        """Forget the totals of deployments that are no more."""
        gone = [name for name in self._totals if not self._knows(*names.cluster_parts(name))]
        for name in gone:
            del self._totals[name]

    def _replace(self, gateway: _Gateway) -> None:
        """A gateway that comes back before its old connection is found dead must not count twice."""
        self._gateways = {other for other in self._gateways if other.node != gateway.node}

    def _take(self, gateway: _Gateway, message: lrs_pb2.LoadStatsRequest) -> None:
        gateway.at = self._clock()
        gateway.clusters = _decode(message)
        self._gateways.add(gateway)
        for name, said in gateway.clusters.items():
            before = self._totals.get(name)
            if before is None and not self._knows(*names.cluster_parts(name)):
                continue
            self._totals[name] = (before or Load()) + replace(said.load, in_progress=0)

    def _is_fresh(self, gateway: _Gateway) -> bool:
        return self._clock() - gateway.at <= STALE_INTERVALS * INTERVAL_S


def _decode(message: lrs_pb2.LoadStatsRequest) -> dict[str, ClusterLoad]:
    """The deployments with load. Every cluster is named in a report, most of them with nothing behind the name."""
    found: dict[str, ClusterLoad] = {}
    for cluster in message.cluster_stats:
        localities = cluster.upstream_locality_stats
        if not localities or names.CLUSTER_SEPARATOR not in cluster.cluster_name:
            continue  # idle, or the control plane's own
        # A deployment that answers gRPC too has two clusters, and one load.
        name = names.cluster_name(*names.cluster_parts(cluster.cluster_name))
        before = found.get(name, ClusterLoad(Load(), ()))
        load, hosts = before.load, [*before.hosts]
        for locality in localities:
            load += _load(locality)
            hosts += ((_address(host.address), _load(host)) for host in locality.upstream_endpoint_stats)
        found[name] = ClusterLoad(load, tuple(hosts))
    return found


def _load(stats: object) -> Load:
    return Load(
        stats.total_requests_in_progress,  # type: ignore[attr-defined]  # of either kind of statistics
        stats.total_issued_requests,  # type: ignore[attr-defined]
        stats.total_successful_requests,  # type: ignore[attr-defined]
        stats.total_error_requests,  # type: ignore[attr-defined]
    )


def _address(address: object) -> str:
    """As :func:`gateway.addresses.parse_address` reads it."""
    if address.HasField("pipe"):  # type: ignore[attr-defined]
        return f"unix://{address.pipe.path}"  # type: ignore[attr-defined]
    socket = address.socket_address  # type: ignore[attr-defined]
    host = f"[{socket.address}]" if ":" in socket.address else socket.address
    return f"{host}:{socket.port_value}"
