"""The receivers of load reports and access logs, without sockets."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from gateway.access_logs import AccessLogs
from gateway.load import Load
from gateway.load_reports import LoadReports
from gateway.signals import Signals
from tests.support.signals import Stream

KNOWN = {("house", ""), ("house", "blue"), ("house", "green"), ("six", ""), ("six", "blue")}


class World:
    """A clock moved by hand, and what exists."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.known = set(KNOWN)
        self.logs = AccessLogs(self.knows, self.clock)
        self.loads = LoadReports(self.knows, self.clock)

    def knows(self, endpoint: str, deployment: str) -> bool:
        return (endpoint, deployment) in self.known

    def clock(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    return World()


def in_progress(world: World, deployment: str = "blue") -> int | None:
    load = world.loads.load("house", deployment)
    return None if load is None else load.now.in_progress


class TestLoadReports:
    async def test_every_cluster_and_host_is_asked_for_every_second(self, world: World) -> None:
        stream = await Stream(world.loads, "g").hello()
        (asked,) = stream.asked
        assert asked.send_all_clusters
        assert asked.report_endpoint_granularity
        assert asked.load_reporting_interval.seconds == 1
        await stream.end()

    async def test_nothing_heard_is_not_no_load(self, world: World) -> None:
        assert world.loads.load("house", "blue") is None
        stream = await Stream(world.loads, "g").hello()
        assert world.loads.load("house", "blue") is None, "connected, nothing said yet"
        await stream.report(house_blue={})
        load = world.loads.load("house", "blue")
        assert load is not None
        assert (load.now, load.gateways) == (Load(), 1)
        assert world.loads.load("house", "nosuch") is None
        await stream.end()

    async def test_gateways_are_summed_by_deployment_and_host(self, world: World) -> None:
        one, two = await Stream(world.loads, "g1").hello(), await Stream(world.loads, "g2").hello()
        await one.report(house_blue={"unix:///a": (3, 5, 4, 1), "[::1]:5": (1, 1, 0, 0)}, six_blue={})
        await two.report(house_blue={"unix:///a": (2, 2, 2, 0)}, house_green={"127.0.0.1:80": (7, 0, 0, 0)})
        load = world.loads.load("house", "blue")
        assert load is not None
        assert load.now == Load(6, 8, 6, 1)
        assert load.hosts == {"unix:///a": Load(5, 7, 6, 1), "[::1]:5": Load(1, 1, 0, 0)}
        assert load.gateways == 2
        assert in_progress(world, "green") == 7
        await one.report(house_blue={})
        load = world.loads.load("house", "blue")
        assert load is not None
        assert (load.now, load.total) == (Load(2, 2, 2, 0), Load(0, 8, 6, 1))
        await one.end()
        await two.end()

    async def test_what_speaks_grpc_belongs_to_its_deployment(self, world: World) -> None:
        stream = await Stream(world.loads, "g").hello()
        await stream.report(house_blue={"unix:///a": (3, 5, 4, 1)}, house_blue_grpc={"unix:///a.grpc": (2, 2, 2, 0)})
        load = world.loads.load("house", "blue")
        assert load is not None
        assert (load.now, load.total) == (Load(5, 7, 6, 1), Load(0, 7, 6, 1))
        assert load.hosts == {"unix:///a": Load(3, 5, 4, 1), "unix:///a.grpc": Load(2, 2, 2, 0)}
        await stream.end()

    async def test_a_gateway_that_hangs_counts_for_nothing_after_three_intervals(self, world: World) -> None:
        one, two = await Stream(world.loads, "g1").hello(), await Stream(world.loads, "g2").hello()
        await one.report(house_blue={"unix:///a": (3, 0, 0, 0)})
        world.now += 2.5
        await two.report(house_blue={"unix:///a": (4, 0, 0, 0)})
        assert in_progress(world) == 7
        world.now += 1
        assert in_progress(world) == 4
        world.now += 3
        assert in_progress(world) is None
        await one.report(house_blue={"unix:///a": (1, 0, 0, 0)})
        assert in_progress(world) == 1, "it was only slow"
        await one.end()
        await two.end()

    async def test_a_gateway_that_goes_counts_for_nothing_at_once(self, world: World) -> None:
        stream = await Stream(world.loads, "g").hello()
        await stream.report(house_blue={"unix:///a": (3, 0, 0, 0)})
        await stream.end()
        assert in_progress(world) is None

    async def test_a_gateway_that_comes_back_does_not_count_twice(self, world: World) -> None:
        lost = await Stream(world.loads, "g").hello()
        await lost.report(house_blue={"unix:///a": (3, 9, 9, 0)})
        back = await Stream(world.loads, "g").hello()
        await back.report(house_blue={"unix:///a": (3, 1, 1, 0)})
        assert in_progress(world) == 3
        await lost.end()
        assert in_progress(world) == 3
        load = world.loads.load("house", "blue")
        assert load is not None
        assert load.total.issued == 10
        await back.end()

    async def test_what_was_removed_is_forgotten(self, world: World) -> None:
        stream = await Stream(world.loads, "g").hello()
        await stream.report(house_blue={"unix:///a": (3, 1, 0, 0)}, gone_blue={"unix:///b": (1, 1, 0, 0)})
        world.known.remove(("house", "blue"))
        assert in_progress(world) is None
        world.loads.prune()
        world.known.add(("house", "blue"))
        await stream.report(house_blue={})
        load = world.loads.load("house", "blue")
        assert load is not None
        assert load.total == Load()
        assert world.loads.load("gone", "blue") is None
        await stream.end()


def totals(world: World, endpoint: str, deployment: str = "") -> dict[tuple[int, int], int]:
    return {tuple(k): v for k, v in world.logs.requests(endpoint, deployment).totals.items()}


class TestAccessLogs:
    def test_lines_are_counted_where_they_belong(self, world: World) -> None:
        world.logs.record(
            [
                "house/blue 200 1500 200",
                "house/blue 424 2500 500",
                "house/- 401 90 -",
                "-/- 404 50 -",
                "gone/blue 200 1 200",
                "house/blue 0 - -",
            ]
        )
        assert totals(world, "house", "blue") == {(200, 200): 1, (424, 500): 1, (0, 0): 1}
        assert totals(world, "house") == {(401, 0): 1}
        assert totals(world, "house", "green") == {}
        assert world.logs.unrouted == {404: 1, 200: 1}
        assert len(world.logs) == 2
        assert world.logs.requests("house", "blue").latency.count == 2

    def test_codes_of_grpc_are_counted_as_what_they_would_be_over_http(self, world: World) -> None:
        codes = ("-", "0", "3", "4", "8", "13", "14", "99", "-1")
        world.logs.record(
            [f"house/blue 200 1 - {code}" for code in codes] + ["house/- 200 1 - 16", "house/- 401 1 - -"]
        )
        assert totals(world, "house") == {(401, 0): 2}
        assert totals(world, "house", "blue") == {
            (200, 200): 2,
            (424, 400): 1,
            (408, 0): 1,
            (429, 0): 1,
            (424, 500): 3,
            (503, 0): 1,
        }

    def test_a_status_that_is_none_counts_as_none(self, world: World) -> None:
        world.logs.record(["house/blue 99999 1 7", "house/blue 424 1 2x0"])
        assert totals(world, "house", "blue") == {(0, 0): 1, (424, 0): 1}

    def test_what_was_removed_is_forgotten_and_stays_so(self, world: World) -> None:
        world.logs.record(["house/blue 200 1 200", "six/- 401 1 -"])
        world.known -= {("house", "blue"), ("six", ""), ("six", "blue")}
        world.logs.prune()
        assert len(world.logs) == 0
        world.logs.record(["house/blue 200 1 200"])
        assert len(world.logs) == 0, "a late line does not bring it back"

    def test_as_many_are_kept_as_exist(self, world: World) -> None:
        world.logs.record(f"{name}/{deployment} 200 1 200" for name in map(str, range(1000)) for deployment in "ab")
        assert len(world.logs) == 0
        assert world.logs.unrouted == {200: 2000}

    async def test_an_export_is_read_from_the_wire(self, world: World) -> None:
        message = logs_service_pb2.ExportLogsServiceRequest()
        records = message.resource_logs.add().instrumentation_library_logs.add().logs
        for line in ("house/blue 200 1500 200", "house/blue 200 2500 200"):
            records.add().body.string_value = line
        context: Any = None
        answer = await world.logs._export(message.SerializeToString(), context)
        assert logs_service_pb2.ExportLogsServiceResponse.FromString(answer) is not None
        assert totals(world, "house", "blue") == {(200, 200): 2}


def test_signals_offers_both_services_and_prunes_both(world: World) -> None:
    signals = Signals(world.knows, world.clock)
    assert len(signals.services()) == 2
    signals.requests.record(["house/blue 200 1 200"])
    world.known.clear()
    signals.prune()
    assert len(signals.requests) == 0
