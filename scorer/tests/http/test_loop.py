"""The loop that polls connections: real sockets, a clock of the test's own, and nobody waits."""

from __future__ import annotations

import errno
import gc
import socket
import threading
import weakref
from functools import partial

import pytest
from penstock_scorer.http import loop as module
from penstock_scorer.http.connection import PREFACE
from penstock_scorer.http.loop import Loop
from penstock_scorer.http.request import Request

from scorer.tests.http.places import POST, answers, ended
from scorer.tests.http.wires import GET, echo


def test_requests_are_answered(place):
    client = place.connect(GET + GET)
    assert answers(client) == [200, 200]
    assert place.quiet


def test_an_answer_from_another_thread_lets_the_next_request_begin(place):
    held = []
    place.handle = held.append
    client = place.connect(GET + GET)
    thread = threading.Thread(target=held[0].respond, args=(200, [], b""))
    thread.start()
    thread.join()
    place.turn()
    held[1].respond(200, [], b"")
    assert answers(client) == [200, 200]


def test_a_call_while_it_waits_ends_the_wait(place):
    called, ends = threading.Event(), threading.Event()

    def work() -> None:
        while not ends.is_set():
            place.loop.poll(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for _ in range(1000):
        place.loop.call(called.set)
        assert called.wait(10)
        called.clear()
    ends.set()
    place.loop.wake()
    thread.join(10)
    assert not thread.is_alive()


def test_a_request_read_ahead_ends_the_wait_of_the_thread_that_runs_it(place):
    """What polls is what runs requests: it must not sleep on one that it has found itself."""
    begun = []
    place.handle = begun.append
    place.connect(GET + GET)
    begun[0].respond(200, [], b"")
    # Woken after a while, so that the test ends; without need.
    alarm = threading.Timer(5, lambda: begun.append("late") or place.loop.wake())
    alarm.start()
    place.loop.poll(None)
    alarm.cancel()
    assert len(begun) == 2
    assert "late" not in begun


def test_each_of_several_workers_gets_its_share(place):
    """The kernel wakes the first of those that wait: without taking turns one gets every connection."""
    ends, shares = threading.Event(), []

    def work(loop: Loop) -> None:
        while not ends.is_set():
            loop.poll(None)

    loops = [place.loop, *(Loop() for _ in range(2))]
    for loop in loops[1:]:
        place.open(loop)
    threads = [threading.Thread(target=work, args=(loop,), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    place.handle = lambda request: request.respond(200, [], threading.current_thread().name.encode())
    place.turn = lambda: None
    try:
        for _ in range(30):
            client = place.connect(GET)
            shares.append(client.recv(65536).rpartition(b"\r\n")[2])
    finally:
        ends.set()
        for loop in loops:
            loop.wake()
        for thread in threads:
            thread.join()
        for loop in loops:
            for connection in list(loop._connections.values()):
                connection.close()
    assert min(shares.count(thread.name.encode()) for thread in threads) >= 3


class TestDeadlines:
    def test_a_head_that_does_not_come(self, place):
        client = place.connect(GET[:9])
        place.now += 29
        client.sendall(GET[9:10])
        place.turn()
        place.now += 2
        place.turn()
        assert answers(client) == [408]

    def test_a_body_may_take_its_time_as_long_as_it_comes(self, place):
        client = place.connect(POST)
        for piece in (b"a", b"b", b"c"):
            place.now += 29
            place.turn()
            client.sendall(piece)
            place.turn()
        assert answers(client) == [200]
        place.now += 1000
        place.turn()
        assert not ended(client)

    def test_a_body_behind_an_answer_has_as_long(self, place):
        held = []
        place.handle = lambda request: held.append(request) if request.method == "GET" else echo(request)
        client = place.connect(GET + POST + b"a")
        held[0].respond(200, [], b"")
        place.turn()
        place.now += 29
        place.turn()
        client.sendall(b"bc")
        place.turn()
        assert answers(client) == [200, 200]

    def test_the_rest_of_a_head_behind_another_request(self, place):
        client = place.connect(GET + GET[:9])
        place.now += 31
        place.turn()
        assert answers(client) == [200, 408]

    def test_none_for_those_that_left_and_those_that_rest(self, place):
        for _ in range(5):
            place.connect(GET[:9]).close()
        place.connect(GET)
        place.turn()
        assert not place.loop._deadlines
        place.now += 1000
        place.turn()
        assert not ended(place.clients[-1])

    def test_one_that_another_thread_closes_meanwhile(self, place):
        one, other = place.connect(GET[:9]), place.connect(GET[:9])
        first, second = place.loop._connections.values()
        first.expire = second.close
        second.expire = first.close
        place.now += 31
        place.turn()
        assert ended(one) is not ended(other)

    def test_a_client_that_is_told_off_may_linger_a_while(self, place):
        client = place.connect(b"nonsense\r\n\r\n")
        assert answers(client) == [400]
        client.sendall(b"x" * 1000)
        place.turn()
        assert place.quiet
        assert len(place.loop._connections) == 1
        place.now += 2.1
        place.turn()
        assert not place.loop._connections

    def test_an_answer_that_is_not_read(self, place):
        place.handle = lambda request: request.respond(200, [], b"x" * 5_000_000)
        client = place.connect(GET)
        place.now += 200
        for _ in range(3):
            client.recv(65536)
        place.turn()
        place.now += 200
        place.turn()
        assert len(place.loop._connections) == 1
        place.now += 301
        place.turn()
        assert not place.loop._connections

    def test_an_answer_that_is_read_at_last_leaves_the_connection_at_rest(self, place):
        place.handle = lambda request: request.respond(200, [], b"x" * 2_000_000)
        client = place.connect(GET)
        left = 2_000_000
        while left > 0:
            left -= len(client.recv(1 << 20))
            place.turn()
        assert not place.loop._deadlines

    def test_looking_costs_nothing_until_something_is_due(self, place):
        for _ in range(5):
            place.connect(GET[:9])

        class Counted(dict):
            looks = 0

            def items(self):
                Counted.looks += 1
                return super().items()

        place.loop._deadlines = Counted(place.loop._deadlines)
        for _ in range(100):
            place.now += 0.1
            place.loop.poll(0)
        assert Counted.looks == 0
        place.now += 31
        place.loop.poll(0)
        assert Counted.looks == 1


def running(request: Request) -> None:
    """One whose answer comes later, and whose client is watched."""
    request.watch(partial(bool, request))


def streaming(request: Request) -> None:
    request.stream(200, []).send(b"piece")


@pytest.mark.parametrize("handle", [echo, running, streaming])
@pytest.mark.parametrize("sent", [GET, GET * 3, GET[:9], POST, POST + b"a", POST + b"abc", b"nonsense\r\n\r\n"])
def test_a_connection_that_is_gone_is_not_left_to_the_garbage_collector(place, handle, sent):
    place.handle = handle
    gc.collect()
    gc.disable()
    try:
        client = place.connect(sent)
        (kept,) = (weakref.ref(connection) for connection in place.loop._connections.values())
        client.close()
        place.turn()
        place.now += 40
        place.turn()
        assert kept() is None
    finally:
        gc.enable()


class TestQuiet:
    """What is level-triggered must not keep the loop busy."""

    def test_a_client_that_leaves_while_its_request_runs(self, place):
        place.handle = lambda request: None
        place.connect(GET).close()
        place.turn()
        assert place.quiet
        assert not place.loop._connections

    def test_a_client_that_closes_its_half(self, place):
        told = []
        place.handle = lambda request: request.watch(lambda: told.append(1))
        client = place.connect(GET)
        client.shutdown(socket.SHUT_WR)
        place.turn()
        assert (told, place.quiet) == ([1], True)

    def test_a_client_with_more_than_enough_ahead(self, place):
        place.handle = lambda request: None
        client = place.connect(GET * 20)
        client.sendall(GET)
        place.turn()
        assert place.quiet
        client.close()
        place.turn()
        assert place.quiet
        assert not place.loop._connections


class TestFaults:
    def test_one_connection_alone_bears_it(self, place, caplog):
        place.handle = lambda request: 1 / 0
        assert ended(place.connect(GET))
        place.handle = echo
        assert answers(place.connect(GET)) == [200]
        assert "A fault in the scorer" in caplog.text

    def test_a_fault_where_the_body_is_taken(self, place, caplog):
        place.handle = lambda request: request.read(lambda body: 1 / 0)
        client = place.connect(POST)
        client.sendall(b"abc")
        place.turn()
        assert ended(client)
        assert "ZeroDivisionError" in caplog.text

    def test_a_fault_between_two_requests(self, place, caplog):
        held = []
        place.handle = held.append
        client = place.connect(GET + GET)
        place.handle = lambda request: 1 / 0
        held[0].respond(200, [], b"")
        place.turn()
        assert ended(client)
        assert "ZeroDivisionError" in caplog.text

    def test_no_descriptors_left(self, place, monkeypatch):
        real, fails = place.door.listener, [errno.EMFILE]

        class Poor:
            def accept(self):
                if fails:
                    raise OSError(fails.pop(), "")
                return real.accept()

            def fileno(self):
                return real.fileno()

        place.door.listener = Poor()
        client = place.connect(GET)
        assert place.quiet
        place.now += 0.2
        place.turn()
        assert answers(client) == [200]

    def test_more_connections_than_there_may_be(self, place, monkeypatch):
        monkeypatch.setattr(module, "_MOST_CONNECTIONS", 1)
        first, second = place.connect(GET), place.connect(GET)
        assert (answers(first), place.quiet) == ([200], True)
        first.close()
        place.turn()
        place.now += 0.2
        place.turn()
        assert answers(second) == [200]


class TestDraining:
    def test_idle_connections_end_and_nobody_is_accepted(self, place):
        done = []
        client = place.connect(GET)
        place.door.drain(lambda: done.append(1))
        place.turn()
        place.connect(GET)
        assert (done, ended(client), place.quiet, len(place.loop._connections)) == ([1], True, True, 0)

    def test_what_is_in_flight_is_awaited(self, place):
        done, held = [], []
        place.handle = held.append
        client = place.connect(GET)
        place.door.drain(lambda: done.append(1))
        place.turn()
        assert done == []
        held[0].respond(200, [], b"")
        assert (done, answers(client), ended(client)) == ([1], [200], True)

    def test_what_is_answered_from_the_announcement_on_is_the_last(self, place):
        held = []
        place.handle = held.append
        before, after = place.connect(GET), None
        place.turn()
        place.door.leave()
        held.pop().respond(200, [], b"")
        after = place.connect(GET)
        place.turn()
        held.pop().respond(200, [], b"")
        for client in (before, after):
            assert b"connection: close\r\n" in client.recv(1000)
            assert ended(client)

    def test_nothing(self, place):
        done = []
        place.door.drain(lambda: done.append(1))
        place.turn()
        assert done == [1]

    def test_a_door_that_is_paused_stays_closed(self, place):
        place.loop._pause()
        place.door.drain(lambda: None)
        place.turn()
        place.now += 1
        place.connect(GET)
        assert place.quiet


def test_http_2_is_passed_on(place):
    client = place.connect(PREFACE[:5])
    client.sendall(PREFACE[5:] + b"more")
    place.turn()
    ((sock, received),) = place.switched
    assert received == PREFACE + b"more"
    sock.send(b"there")
    assert client.recv(10) == b"there"
    assert (place.loop._connections, place.loop._deadlines) == ({}, {})


def test_http_2_where_nobody_speaks_it(place):
    place.door._switch = None
    assert ended(place.connect(PREFACE))
