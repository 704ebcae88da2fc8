"""Heads that are recognised instead of parsed say what the parser would have said, whatever came before."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_scorer.http import familiar, parser
from penstock_scorer.http.head import Head

from scorer.tests.http.wires import GET, POST, Wire, seen, statuses

UNIQUE = b"X-Request-ID: %d\r\nAuthorization: Bearer %d\r\nContent-Length: %d\r\n\r\n%s"


def posted(number: int, body: bytes) -> bytes:
    return POST + UNIQUE % (number, number, len(body), body)


@pytest.fixture(autouse=True)
def nothing_is_familiar() -> Iterator[None]:
    familiar._familiar.clear()
    yield
    familiar._familiar.clear()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the parser is given to read."""
    given: list[bytes] = []
    parse = parser.Parser._parse

    def watch(self: parser.Parser, received: bytes) -> Head | None:
        given.append(received)
        return parse(self, received)

    monkeypatch.setattr(parser.Parser, "_parse", watch)
    return given


def test_only_the_first_is_parsed(wire, parsed):
    one, other = wire(), wire()
    for number, body in enumerate((b"a", b"bcd", b"")):
        one.send(posted(number, body))
    other.send(posted(7, b"e"))
    assert parsed == [posted(0, b"a")]
    assert [request.header("x-request-id") for request in one.requests] == ["0", "1", "2"]
    assert seen(one.requests[1])[-1] == [
        ("host", "x"), ("x-request-id", "1"), ("authorization", "Bearer 1"), ("content-length", "3")
    ]  # fmt: skip
    assert one.received().count(b"\r\n\r\nbcd") == 1
    assert statuses(other.received()) == [200]


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (b"Authorization: Bearer planted", 1),
        (b"Authorization:Bearer planted", 0),
        (b"Authorization: Bearer\tplanted", 0),
        (b"Authorization: Bearer planted\xe9", 0),
        (b"Proxy-Authorization: planted", 0),
        (b"Cookie: planted", 0),
        (b"X-Api-Key: planted", 0),
    ],
)
def test_no_credential_is_kept(wire, line, count):
    wire().send(POST + line + b"\r\n\r\n")
    assert len(familiar._familiar) == count
    kept = [(key, known.head.fields, known.head.first) for key, known in familiar._familiar.items()]
    assert "planted" not in repr(kept)


def test_no_query_is_kept(wire):
    wire().send(b"GET /score?code=planted HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not familiar._familiar


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"Connection: close\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        b"Connection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"X-Request-Id: 1\r\nX-Request-Id: 1\r\n\r\n",
        b"X: " + b"y" * 5000 + b"\r\n\r\n",
        b"\r\n" + GET,
    ],
)
def test_what_means_more_than_itself_is_never_familiar(wire, head):
    wire().send(POST + head)
    assert not familiar._familiar


def test_one_that_does_not_come_at_once_is_parsed(wire, parsed):
    one = wire()
    whole = posted(1, b"abc")
    one.send(whole)
    for pieces in ((whole[:-1], whole[-1:]), (whole[:20], whole[20:]), (whole + GET,), (b"\r\n", whole)):
        parsed.clear()
        for piece in pieces:
            one.send(piece)
        assert b"".join(parsed) == b"".join(pieces)
    assert statuses(one.received()) == [200] * 6


@pytest.mark.parametrize(
    "value", [b"1\r\n X: folded", b"1\n", b"1\x00", b"\xe9", b"1\r\nContent-Length: 3", b"-1", b"1_0", b"+3", b"9" * 19]
)
def test_a_hostile_length_is_the_parsers_to_judge(wire, parsed, value):
    one = wire()
    one.send(posted(1, b"abc"))
    parsed.clear()
    one.send(POST + b"X-Request-ID: 1\r\nAuthorization: b\r\nContent-Length: " + value + b"\r\n\r\nabc")
    assert parsed


def test_who_is_never_familiar_is_not_looked_up_for_ever(wire, monkeypatch):
    one = wire()
    looks = mock.Mock(wraps=familiar.recognise)
    monkeypatch.setattr(familiar, "recognise", looks)
    for number in range(20):
        one.send(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    assert looks.call_count == 9
    assert statuses(one.received()) == [200] * 20


def test_bodies_that_come_by_themselves_are_not_held_against_a_client(wire, parsed):
    one, whole = wire(), posted(1, b"abc")
    for _ in range(20):
        one.send(whole[:-3])
        one.send(whole[-3:])
    one.send(whole)
    parsed.clear()
    one.send(whole)
    assert parsed == []


def test_what_a_stalled_body_is_continued_with_is_no_request(wire):
    """Its reader was told that it will not come; llhttp still waits for it."""
    tail = b"GET /public HTTP/1.1\r\nX-Foo: "
    one = wire(room=1, handle=lambda request: request.read(lambda _: request.respond(200, [], b"x" * 1_000_000)))
    one.send(POST + b"Content-Length: %d\r\n\r\n" % len(tail))
    one.connection.expire()
    assert one.connection.stalled
    one.send(tail + posted(1, b"abc"))
    assert not familiar._familiar


def test_nothing_is_recognised_behind_trailers_that_close(wire):
    one = wire()
    one.send(GET)
    one.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nConnection: close\r\n\r\n")
    one.send(GET)
    assert statuses(one.received()) == [200, 200, 400]


def test_nothing_is_recognised_behind_a_connections_last_request(wire):
    one = wire()
    one.send(GET)
    one.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
    one.send(GET)
    assert len(one.requests) == 2


def test_they_do_not_grow_without_end(wire, monkeypatch):
    monkeypatch.setattr(familiar, "_MOST", 4)
    for number in range(10):
        wire().send(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    assert 0 < len(familiar._familiar) <= 4


LINES = st.sampled_from([
    b"Host: x", b"host: y", b"Content-Length: 3", b"content-length: 3", b"Content-Length: 0", b"Content-Length:3",
    b"Content-Length:  3 ", b"Content-Length: 03", b"Content-Length: 4", b"Content-Length: x", b"Content-Length : 3",
    b"X-Request-Id: a", b"x-request-id: b", b"X-Request-Id: ", b"X-Request-Id:   ", b"X-Request-Id: \xe9",
    b"X-Request-Id: a b", b"X-Request-Id: a\tb", b"Authorization: Bearer k", b"Authorization: Bearer l",
    b"Traceparent: 00-1", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive",
    b"Connection: Upgrade", b"Upgrade: h2c", b"Expect: 100-continue", b" folded", b"X: y\rz", b"X: y\nz", b"X: \x00",
    b"Trailer: x",
])  # fmt: skip
STARTS = st.sampled_from([
    b"POST /score HTTP/1.1", b"GET / HTTP/1.1", b"POST /score?a=1 HTTP/1.1", b"POST /score HTTP/1.0", b"PRI * HTTP/1.1",
    b"CONNECT x:1 HTTP/1.1", b"HEAD / HTTP/1.1",
])  # fmt: skip
BODIES = st.sampled_from([
    b"", b"abc", b"abcd", CHUNKS := b"3\r\nabc\r\n0\r\n\r\n", GET, b"abc" + GET,
    CHUNKS + GET, b"3\r\nabc\r\n0\r\nConnection: close\r\n\r\n",
])  # fmt: skip
ODD = st.builds(
    lambda start, lines, end, body: b"\r\n".join([start, *lines, b""]) + end + body,
    STARTS, st.lists(LINES, max_size=4), st.sampled_from([b"\r\n", b"\r\n", b"\n", b""]), BODIES,
)  # fmt: skip


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Requests of one shape: values differ, and what is said of the body, and what follows."""
    start, ids, framed = draw(STARTS), draw(st.integers(0, 2)), draw(st.sampled_from(["length", "chunks", ""]))
    made = []
    for _ in range(draw(st.integers(2, 4))):
        body, more = draw(BODIES), draw(st.sampled_from([b"", b"", GET]))
        lines = [b"X-Request-Id: %d\r\n" % draw(st.integers(0, 1)) for _ in range(ids)]
        if framed == "chunks":
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif framed:
            lines.append(b"Content-Length: %d\r\n" % max(0, len(body) + draw(st.sampled_from([0, 0, 0, 1, -1]))))
        made.append(b"%s\r\nHost: x\r\n%s\r\n%s" % (start, b"".join(lines), (body if framed else b"") + more))
    return made


def course(pieces: list[bytes]) -> tuple[object, ...]:
    """What one connection makes of these, each sent at once; an empty one: what has begun comes no further."""
    wire = Wire()
    try:
        for piece in pieces:
            if piece:
                wire.send(piece)
            elif wire.connection.open:
                wire.connection.expire()
                wire.turn()
        said = statuses(wire.received())
        return [(*seen(request), request.whole) for request in wire.requests], said, wire.ended, wire.connection.open
    finally:
        wire.close()


@settings(max_examples=400, deadline=None)
@given(alike(), st.lists(ODD, max_size=3), st.randoms(use_true_random=False), st.lists(st.integers(1, 400), max_size=4))
def test_whatever_came_before_a_request_is_what_the_parser_says(similar, odd, order, cuts):
    """Some requests whole, some cut; on a fresh connection from each on, so that errors do not end the course."""
    familiar._familiar.clear()
    pieces = [*similar, *similar, *odd, *odd, b""]
    order.shuffle(pieces)
    whole = b"".join(pieces)
    ends = sorted({cut for cut in cuts if cut < len(whole)})
    pieces += [whole[start:end] for start, end in zip([0, *ends], [*ends, len(whole)], strict=True)]
    for first in range(len(pieces)):
        recognised = course(pieces[first : first + 4])
        with mock.patch.object(familiar, "recognise", return_value=None):
            assert recognised == course(pieces[first : first + 4])
