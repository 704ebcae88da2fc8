"""One connection of HTTP/1.1, over a socket pair: what goes out, at once and in pieces."""

from __future__ import annotations

import os
import threading

import pytest
from penstock_scorer.dataplane import forks
from penstock_scorer.http.reply import head

from scorer.tests.http.wires import DATE, GET, Held, statuses


def test_an_answer_that_waits_for_room_and_enough_read_ahead(wire):
    big = b"b" * 50_000
    one = wire(lambda request: request.respond(200, [], big), room=4096)
    one.send(GET)
    assert (one.events.read, one.events.write, one.connection.stalled) == (True, True, True)
    one.send(GET * 20)
    assert (one.events.read, one.events.write) == (False, True)
    found = one.received()
    for _ in range(100_000):
        if found.count(b"b" * 1000) and len(found) > 21 * 50_000:
            break
        one.turn()
        found += one.received()
    one.turn()
    assert statuses(found) == [200] * 21
    assert (one.events.read, one.events.write) == (True, False)


def test_an_answer_whose_rest_goes_out_at_once_is_over_once(wire):
    held = Held()
    one = wire(held, room=4096)
    one.send(GET + GET)
    watch = one.watch

    def flush(connection, events):
        watch(connection, events)
        if events.write:
            # The polling thread does the rest before the answering one goes on.
            found = []
            lock, connection._lock = connection._lock, threading.Lock()
            while connection._rest:
                found.append(one.received())
                connection.writable()
            connection._lock = lock
            connection.proceed()

    one.watch = flush
    request, _ = held.held.pop(0)
    request.respond(200, [], b"b" * 500_000)
    one.turn()
    held.answer()
    assert statuses(one.received())[-1:] == [200]
    assert one.connection.idle


def test_an_answer_that_nobody_reads(wire):
    one = wire(lambda request: request.respond(200, [], b"b" * 500_000), room=4096)
    one.send(GET)
    one.connection.expire()
    assert not one.connection.open


def test_an_answer_is_sent_once(wire):
    one = wire(lambda request: [request.respond(200, [], b"a"), request.respond(500, [], b"b")])
    one.send(GET)
    assert statuses(one.received()) == [200]


def test_an_interruption_while_an_answer_is_sent_leaves_no_client_waiting(wire, monkeypatch):
    """The script's time may be over at any instruction: its thread is the one that answers."""
    held = Held()
    one = wire(held)
    one.send(GET)

    def interrupt(_sent: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(one.connection, "send_last", interrupt)
    with pytest.raises(KeyboardInterrupt):
        held.answer()
    assert one.ended


class TestCut:
    """Whoever had the answer was interrupted, and does not know how far it came."""

    def test_nothing_is_out(self, wire):
        held = Held()
        one = wire(held)
        one.send(GET)
        held.held[0][0].cut()
        assert one.connection.open
        one.turn()
        assert one.ended

    def test_the_answer_is_out(self, wire):
        held = Held()
        one = wire(held)
        one.send(GET + GET)
        first = held.held[0][0]
        held.answer()
        one.turn()
        first.cut()
        one.turn()
        held.answer()
        assert statuses(one.received()) == [200, 200]
        assert one.connection.open

    def test_the_answer_is_on_its_way(self, wire):
        one = wire(lambda request: request.respond(200, [], b"a" * 500_000))
        one.send(GET)
        one.requests[0].cut()
        one.turn()
        found = b""
        while piece := one.received():
            found += piece
            one.turn()
        assert found.endswith(b"a")
        assert len(found) > 500_000
        assert one.connection.open

    def test_a_stream_that_was_not_ended(self, wire):
        one = wire(lambda request: request.stream(200, []).send(b"piece"))
        one.send(GET)
        one.requests[0].cut()
        one.turn()
        assert one.ended


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_answers_without_a_body(wire, method, status):
    one = wire(lambda request: request.respond(status, [], b"abc"))
    one.send(method.encode() + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    lines, body = one.received().lower().split(b"\r\n\r\n")
    assert body == (b"abc" if (method, status) == ("GET", 200) else b"")
    assert (b"content-length: 3" in lines) is (status == 200)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("asked", ["close", "keep-alive", None])
def test_who_closes(wire, version, asked):
    one = wire()
    wish = f"Connection: {asked}\r\n" if asked else ""
    one.send(f"GET / HTTP/{version}\r\nHost: x\r\n{wish}\r\n".encode())
    answer = one.received()
    stays = asked == "keep-alive" or (asked is None and version == "1.1")
    assert one.ended is not stays
    assert (b"connection: close\r\n" in answer) is not stays
    assert (b"connection: keep-alive\r\n" in answer) is (stays and version == "1.0")


def test_an_interim_answer_of_the_scripts_own_ends_the_connection(wire):
    one = wire(lambda request: request.respond(101, [], b""))
    one.send(GET)
    assert one.ended


class TestStreams:
    def test_pieces(self, wire):
        one = wire()
        sink = self.begin(one)
        assert sink.send(b"ab")
        # An empty chunk would end it.
        assert sink.send(b"")
        assert sink.send(b"c")
        sink.end()
        one.send(GET)
        assert DATE.sub(b"", one.received()) == (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        assert len(one.requests) == 2

    def test_an_answer_broken_off_ends_with_its_connection(self, wire):
        one = wire()
        sink = self.begin(one)
        sink.send(b"ab")
        sink.abort(b"sorry")
        assert one.received().endswith(b"\r\n2\r\nab\r\n5\r\nsorry\r\n")
        assert one.ended

    def test_http_1_0_reads_to_the_end(self, wire):
        one = wire()
        sink = self.begin(one, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        sink.send(b"ab")
        sink.end()
        answer = one.received()
        assert (answer.endswith(b"\r\n\r\nab"), b"chunked" in answer, one.ended) == (True, False, True)

    def test_no_body_no_chunks(self, wire):
        one = wire()
        sink = self.begin(one, status=204)
        sink.send(b"ab")
        sink.end()
        assert DATE.sub(b"", one.received()) == b"HTTP/1.1 204 No Content\r\n\r\n"

    def test_a_client_that_has_left(self, wire):
        one = wire()
        sink = self.begin(one)
        one.client.close()
        assert not (sink.send(b"ab") and sink.send(b"ab"))

    def test_a_fork_of_the_script_ends_nothing(self, wire, monkeypatch):
        one = wire()
        sink = self.begin(one)
        sink.send(b"ab")
        one.received()
        monkeypatch.setattr(forks, "_forked", True)
        monkeypatch.setattr(os, "_exit", self.leave)
        for end in (sink.end, sink.abort):
            with pytest.raises(ZeroDivisionError):
                end()
        assert one.received() == b""

    @staticmethod
    def leave(code: int) -> None:
        raise ZeroDivisionError

    @staticmethod
    def begin(one, data=GET, status=200):
        sinks = []
        one._handle = lambda request: sinks.append(request.stream(status, []))
        one.send(data)
        return sinks[0]


class TestHeads:
    def test_nothing_in_a_value_begins_another_header(self):
        sent = head(200, [("a", "b\r\nx: y\0"), ("c\nd", "e\r")], "")
        assert sent.startswith(b"HTTP/1.1 200 OK\r\na: b  x: y \r\nc d: e \r\ndate: ")
        assert sent.count(b"\r\n") == 5

    def test_every_value_in_its_own_encoding(self):
        sent = head(200, [("a", "\xe9"), ("b", "\u20ac"), ("c", "\udc80")], "")
        assert b"a: \xe9\r\nb: \xe2\x82\xac\r\nc: ?\r\n" in sent
