"""One connection of HTTP/1.1, over a socket pair: clients that leave, and the end of the server."""

from __future__ import annotations

import os
import socket

from penstock_scorer.http.connection import PREFACE

from scorer.tests.http.wires import GET, POST, Held, statuses


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
