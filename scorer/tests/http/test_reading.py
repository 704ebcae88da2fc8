"""One connection of HTTP/1.1, over a socket pair: what is read as what, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_scorer.http import connection as module
from penstock_scorer.http.connection import PREFACE

from scorer.tests.http.wires import DATE, GET, POST, UPGRADE, Held, Wire, echo, seen, statuses


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
