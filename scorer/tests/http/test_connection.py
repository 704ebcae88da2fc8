"""One connection of HTTP/1.1, over a socket pair: what is read as what, and what goes out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_scorer.dataplane import forks
from penstock_scorer.http import connection as module
from penstock_scorer.http.connection import PREFACE
from penstock_scorer.http.reply import head
from penstock_scorer.http.request import Request

from scorer.tests.http.wires import DATE, Wire, echo, seen, statuses

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /score HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(*arguments: object, **options: object) -> Wire:
        made.append(Wire(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


class Held:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.held: list[tuple[Request, bytes | None]] = []

    def __call__(self, request: Request) -> None:
        request.read(lambda body: self.held.append((request, body)))

    def answer(self) -> None:
        request, body = self.held.pop(0)
        request.respond(400 if body is None else 200, [], b"incomplete" if body is None else body)


def test_a_request_and_its_answer(wire):
    one = wire()
    one.send(POST + b"Content-Length: 3\r\nX-Empty:\r\n\r\nabc")
    assert DATE.sub(b"", one.received()) == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"
    assert seen(one.requests[0]) == (
        "POST", "/score", "", "1.1", [("host", "x"), ("content-length", "3"), ("x-empty", "")]
    )  # fmt: skip


@pytest.mark.parametrize("cut", [1, 7, 1000])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_a_body_behind_a_wish_to_upgrade_is_read(wire, body, cut):
    one = wire()
    data = POST + UPGRADE + body + GET
    for at in range(0, len(data), cut):
        one.send(data[at : at + cut])
    assert statuses(answers := one.received()) == [200, 200]
    assert b"\r\n\r\nabc" in answers
    assert [request.method for request in one.requests] == ["POST", "GET"]


def test_an_upgrade_without_a_body_is_served(wire):
    one = wire()
    one.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n")
    one.send(GET)
    assert statuses(one.received()) == [200, 200]


@pytest.mark.parametrize(
    ("bad", "status"),
    [(b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\n\r\n", 414), (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400)],
)
def test_why_what_follows_an_upgrade_is_refused_is_said(wire, bad, status):
    one = wire()
    # In one piece, as the parser sees it.
    one.connection._held = None
    one.connection._feed(b"GET / HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n" + bad)
    one.turn()
    assert statuses(one.received()) == [200, status]


def test_nothing_is_read_behind_connect(wire):
    one = wire()
    one.send(GET + b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert statuses(one.received()) == [200, 200]
    assert [request.method for request in one.requests] == ["GET", "CONNECT"]
    assert one.ended


def test_what_is_valid_before_what_is_not_is_answered(wire):
    held = Held()
    one = wire(held)
    one.send(GET + GET + b"nonsense\r\n\r\n")
    held.answer()
    one.turn()
    held.answer()
    one.turn()
    assert statuses(one.received()) == [200, 200, 400]
    assert one.ended


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_what_another_server_may_read_otherwise_is_refused(wire, data):
    one = wire()
    one.send(data + GET)
    assert (statuses(one.received()), one.requests, one.ended) == ([400], [], True)


@pytest.mark.parametrize("end", [b"3 \r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n", b"3\r\nabcX0\r\n\r\n", b"-1\r\n\r\n"])
def test_a_body_in_broken_chunks_never_is_whole(wire, end):
    one = wire()
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + end + GET)
    assert (statuses(one.received()), len(one.requests), one.ended) == ([400], 1, True)


def test_a_length_of_many_zeros(wire):
    one = wire()
    one.send(POST + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc")
    assert one.received().endswith(b"\r\n\r\nabc")


def test_nothing_is_run_behind_an_answer_that_closes(wire):
    one = wire(limit=10)
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n" + GET)
    assert (statuses(one.received()), len(one.requests), one.ended) == ([413], 1, True)


def test_a_body_that_grows_too_large_while_a_client_waits_to_read_why(wire):
    one = wire(limit=10)
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    one.send(b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n" + GET)
    assert (statuses(one.received()), len(one.requests)) == ([413], 1)
    assert (one.ended, one.connection.open, one.connection.lingers) == (True, True, True)
    one.send(b"x" * 1000)
    one.connection.expire()
    assert not one.connection.open


@pytest.mark.parametrize(
    ("begin", "more"), [(b"0\r\nX: ", b"y" * 1000), (b"0\r\n", b"X: abcd\r\n" * 111), (b"1;x=", b"y" * 1000)]
)
def test_trailers_and_extensions_have_an_end(wire, begin, more):
    one = wire()
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + begin)
    sent = 0
    while one.connection.open and not one.connection.lingers and sent < 1_000_000:
        one.send(more)
        sent += len(more)
    assert 60_000 < sent < 200_000
    assert statuses(one.received()) == [400]


def test_heads_have_an_end(wire):
    one = wire()
    one.send(b"GET / HTTP/1.1\r\nX: ")
    sent = 0
    while one.connection.open and not one.connection.lingers and sent < 1_000_000:
        one.send(b"y" * 1000)
        sent += 1000
    assert sent < 200_000
    assert statuses(one.received()) == [431]


def test_small_chunks_take_little_more_memory_than_they_hold(wire):
    held = Held()
    one = wire(held, limit=1_000_000)
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        one.send(b"2\r\nab\r\n" * 1000)
    assert len(one.requests[0]._body) <= 4096
    one.send(b"0\r\n\r\n")
    assert held.held[0][1] == b"ab" * 100_000


def test_reading_stops_with_enough_requests_ahead_and_goes_on(wire):
    held = Held()
    one = wire(held)
    one.send(GET * 17)
    assert (one.events.read, one.connection.waiting) == (False, False)
    held.answer()
    one.turn()
    assert one.events.read
    for _ in range(16):
        held.answer()
        one.turn()
    one.send(GET)
    held.answer()
    assert statuses(one.received()) == [200] * 18


def test_reading_stops_with_enough_bytes_ahead_and_goes_on(wire):
    held = Held()
    size = module._MOST_AHEAD_BYTES + 100_000
    one = wire(held, limit=2 * size)
    one.send(GET + POST + b"Content-Length: %d\r\n\r\n" % size)
    rest = b"x" * size
    while one.events.read:
        one.send(rest[:50_000])
        rest = rest[50_000:]
    assert rest
    # It is not the client's fault: no deadline runs.
    assert not one.connection.waiting
    held.answer()
    one.turn()
    assert (one.events.read, one.connection.waiting) == (True, True)
    while rest:
        one.send(rest[:50_000])
        rest = rest[50_000:]
    assert held.held[0][1] == b"x" * size


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

    monkeypatch.setattr(one.connection, "_send_last", interrupt)
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


@pytest.mark.parametrize(("version", "interim"), [("1.1", [100]), ("1.0", [])])
def test_who_expects_to_be_asked_for_the_body_is(wire, version, interim):
    one = wire()
    one.send(f"POST / HTTP/{version}\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n".encode())
    assert statuses(one.received()) == interim
    one.send(b"abc")
    assert statuses(one.received()) == [200]


def test_a_body_that_is_there_is_not_asked_for(wire):
    one = wire()
    one.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert statuses(one.received()) == [200]


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


class TestLeaving:
    def test_the_one_whose_answer_is_awaited_is_told(self, wire):
        held, told = Held(), []
        one = wire(held)
        one.send(GET + GET)
        first, _ = held.held[0]
        first.watch(lambda: told.append("first"))
        held.answer()
        one.turn()
        second, _ = held.held[0]
        second.watch(lambda: told.append("second"))
        # What is left of the first ends its watch late.
        first.unwatch()
        one.client.shutdown(socket.SHUT_WR)
        one.turn()
        assert told == ["second"]
        late = []
        second.watch(lambda: late.append("late"))
        assert (late, one.told_closed) == (["late"], 1)

    def test_a_body_that_will_not_come(self, wire):
        one = wire()
        one.send(POST + b"Content-Length: 10\r\n\r\nabc")
        one.client.shutdown(socket.SHUT_WR)
        one.turn()
        assert statuses(one.received()) == [400]
        one.turn()
        assert not one.connection.open

    def test_a_body_ahead_that_will_never_be_whole(self, wire):
        held = Held()
        one = wire(held)
        one.send(GET + POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
        held.answer()
        one.turn()
        held.answer()
        one.turn()
        assert (statuses(one.received()), one.ended) == ([200, 400], True)

    def test_a_child_that_holds_the_descriptor_keeps_no_client(self, wire):
        one = wire()
        held = os.dup(one.connection.sock.fileno())
        try:
            one.connection.close()
            assert one.ended
        finally:
            os.close(held)

    def test_deadlines(self, wire):
        one = wire()
        one.connection.expire()
        assert (one.connection.waiting, one.connection.open) == (False, True)
        one.send(GET + b"GET /")
        assert one.connection.waiting
        one.connection.expire()
        assert statuses(one.received()) == [200, 408]
        assert one.ended

    def test_half_a_preface(self, wire):
        one = wire()
        one.send(PREFACE[:3])
        assert one.connection.waiting
        one.connection.expire()
        assert (one.connection.open, one.received()) == (False, b"")


class TestDraining:
    def test_what_has_been_sent_is_answered(self, wire):
        one = wire()
        one.client.sendall(GET)
        one.draining = True
        one.connection.end()
        assert b"connection: close" in one.received()
        assert not one.connection.open

    def test_idle_connections_end(self, wire):
        one = wire()
        one.send(GET)
        one.connection.end()
        assert not one.connection.open

    def test_a_request_on_its_way_is_answered(self, wire):
        one = wire()
        one.send(GET[:9])
        one.draining = True
        one.connection.end()
        one.send(GET[9:])
        assert statuses(one.received()) == [200]
        assert one.ended

    def test_an_answer_under_way_ends(self, wire):
        held = Held()
        one = wire(held)
        one.send(GET)
        one.connection.end()
        assert one.connection.open
        held.answer()
        assert statuses(one.received()) == [200]
        assert one.ended

    def test_between_two_answers(self, wire):
        held = Held()
        one = wire(held)
        one.send(GET + GET)
        held.answer()
        one.draining = True
        one.connection.end()
        one.turn()
        held.answer()
        assert statuses(one.received()) == [200, 200]
        assert one.ended

    def test_a_body_that_nobody_asked_for_keeps_nobody(self, wire):
        one = wire(lambda request: request.respond(200, [], b""))
        one.send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        one.connection.end()
        assert (statuses(one.received()), one.ended, one.connection.lingers) == ([200], True, True)


class TestHeads:
    def test_nothing_in_a_value_begins_another_header(self):
        sent = head(200, [("a", "b\r\nx: y\0"), ("c\nd", "e\r")], "")
        assert sent.startswith(b"HTTP/1.1 200 OK\r\na: b  x: y \r\nc d: e \r\ndate: ")
        assert sent.count(b"\r\n") == 5

    def test_every_value_in_its_own_encoding(self):
        sent = head(200, [("a", "\xe9"), ("b", "\u20ac"), ("c", "\udc80")], "")
        assert b"a: \xe9\r\nb: \xe2\x82\xac\r\nc: ?\r\n" in sent


# ---------------------------------------------------------------- however the bytes are cut

LINES = st.sampled_from([
    GET, b"HEAD /a?b=%20c HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n" + GET, b"GET http://x/y?z HTTP/1.1\r\nHost: x\r\n\r\n",
    POST + b"Content-Length: 5\r\n\r\nhello", POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n",
    POST + UPGRADE + b"Content-Length: 3\r\n\r\nabc",
    POST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"PRI / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE, b"nonsense\r\n\r\n",
    POST + b"Content-Length: 60\r\n\r\n" + b"x" * 60,
    POST + b"Transfer-Encoding: chunked\r\n\r\n3c\r\n" + b"x" * 60 + b"\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabZZ\r\n", POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
])  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    data = bytearray(b"".join(draw(st.lists(LINES, min_size=1, max_size=5))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from([b"", b"\r", b"\n", b" ", b":", b"\0", b"7"]))
    return bytes(data)


def transcript(data: bytes, cuts: list[int], *, late: bool) -> tuple[object, ...]:
    """Requests, their bodies and the answers; ``late``: answered when everything has been sent."""
    held = Held()
    one = Wire(held if late else echo, limit=50)
    try:
        answers = b""
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if begin < end:
                one.send(data[begin:end])
                answers += one.received()
        while late and held.held:
            held.answer()
            one.turn()
            answers += one.received()
        answers = DATE.sub(b"", answers).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        closes = not one.connection.open or one.connection.lingers
        return [seen(request) for request in one.requests], answers, closes, one.switched is not None
    finally:
        one.close()


@settings(max_examples=200, deadline=None)
@given(data=streams(), places=st.lists(st.integers(0, 400), max_size=12), late=st.booleans())
def test_however_the_bytes_are_cut(data, places, late):
    cuts = sorted({min(place, len(data)) for place in places})
    whole = transcript(data, [], late=False)
    assert transcript(data, cuts, late=late) == whole
    assert transcript(data, list(range(1, len(data))), late=late) == whole
