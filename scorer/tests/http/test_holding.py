"""Answers that are held back to be sent together: none is lost, none waits for what takes long."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_scorer.dataplane.inbox import Inbox
from penstock_scorer.http import loop as module
from penstock_scorer.http.loop import Loop
from penstock_scorer.http.request import Request

from scorer.tests.http.places import Place, answers, ended
from scorer.tests.http.wires import GET


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def elsewhere(what: Callable[[], object]) -> None:
    """On another thread."""
    thread = threading.Thread(target=what)
    thread.start()
    thread.join()


def answer(request: Request, body: bytes = b"") -> None:
    """As a slot does, on the calling thread."""
    send = partial(request.respond, 200, [], body)
    if not request.hold(send):
        send()


class TestHolding:
    """Answers are held back to be sent together."""

    @pytest.fixture
    def held(self, place) -> list[Request]:
        """Three requests that run, the second of them quickly behind the first."""
        begun: list[Request] = []
        place.handle = begun.append
        for _ in range(3):
            place.connect(GET)
        place.loop.turn(more=True)
        place.loop.turn(more=True)
        return begun

    @staticmethod
    def heard(place: Place) -> list[bool]:
        """Which clients have an answer."""
        found = []
        for client in place.clients:
            client.setblocking(False)
            try:
                found.append(bool(client.recv(1, socket.MSG_PEEK)))
            except BlockingIOError:
                found.append(False)
        return found

    def test_until_nobody_waits(self, place, held):
        answer(held[0])
        place.loop.turn(more=False)
        answer(held[1])
        assert self.heard(place) == [False, False, False]
        place.loop.poll(0)
        assert self.heard(place) == [True, True, False]

    def test_until_enough_are_there(self, place, held, monkeypatch):
        monkeypatch.setattr(module, "_MOST_HELD", 2)
        for number, heard in enumerate((False, False, True)):
            place.loop.turn(more=True)
            assert self.heard(place) == [heard, heard, False]
            answer(held[number])

    def test_until_one_takes_long(self, place, held):
        answer(held[0])
        place.now += 0.01
        place.loop.turn(more=True)
        assert self.heard(place) == [True, False, False]
        answer(held[1])
        assert self.heard(place) == [True, True, False]

    def test_until_another_thread_polls(self, place, held):
        answer(held[0])
        elsewhere(lambda: place.loop.poll(0))
        assert self.heard(place) == [True, False, False]

    def test_no_more_at_the_end(self, place, held):
        answer(held[0])
        place.loop.release()
        answer(held[1])
        assert self.heard(place) == [True, True, False]

    def test_not_another_threads(self, place, held):
        elsewhere(lambda: answer(held[1]))
        assert self.heard(place) == [False, True, False]

    def test_not_while_another_thread_waits_for_something_to_happen(self, place, held):
        """It would not wake, and whoever has the answers may compute for hours with the next request."""
        ends = threading.Event()

        def work() -> None:
            while not ends.is_set():
                place.loop.poll(None)

        deputy = threading.Thread(target=work, daemon=True)
        deputy.start()
        try:
            until(lambda: place.loop._polling)
            place.loop.turn(more=True)
            answer(held[0])
            assert answers(place.clients[0]) == [200]
        finally:
            ends.set()
            place.loop.wake()
            deputy.join(10)

    def test_one_that_begins_to_wait_meanwhile_is_woken(self, place, held):
        class Late(deque):
            def append(self, item):
                super().append(item)
                place.loop._polling = True

        place.loop._held = Late()
        answer(held[0])
        place.loop._polling = False
        assert not place.quiet
        place.loop.poll(None)
        assert self.heard(place) == [True, False, False]

    def test_what_comes_between_a_look_and_a_wait_ends_the_wait(self, place, held, monkeypatch):
        """Another thread looks whether something is held, then holds this one's answer back, then the other waits."""
        place.loop.release()
        place.loop.turn(more=True)
        place.loop._calls.append(lambda: answer(held[0]))
        monkeypatch.setattr(place.loop, "_holder", threading.get_ident())
        monkeypatch.setattr(place.loop, "release", lambda: None)
        alarm = threading.Timer(5, lambda: place.clients[2].send(b"late"))
        alarm.start()
        place.loop.poll(None)
        alarm.cancel()
        assert len(place.loop._held) == 1
        monkeypatch.undo()
        place.loop.poll(0)
        assert self.heard(place) == [True, False, False]

    def test_a_client_that_leaves_meanwhile(self, place, held):
        answer(held[0])
        place.clients[0].close()
        place.turn()
        answer(held[1])
        place.turn()
        assert answers(place.clients[1]) == [200]
        assert place.quiet
        assert len(place.loop._connections) == 2

    def test_draining_awaits_them(self, place, held):
        done = []
        answer(held[0])
        place.door.drain(lambda: done.append(1))
        for request in held[1:]:
            answer(request)
        assert self.heard(place)[0] is False
        place.turn()
        assert [answers(client) for client in place.clients] == [[200]] * 3
        assert done == [1]

    @pytest.mark.parametrize("where", ["send_last", "_closes"])
    @pytest.mark.parametrize("fault", [OSError, ValueError])
    def test_a_fault_harms_nobody_else(self, place, held, monkeypatch, fault, where):
        def fail(*_):
            raise fault

        answer(held[0])
        place.loop.turn(more=True)
        answer(held[1])
        monkeypatch.setattr(held[0]._connection, where, fail)
        place.loop.release()
        assert ended(place.clients[0])
        assert answers(place.clients[1]) == [200]


class Course:
    """A loop, four clients, and whatever happens to them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.begun: list[Request] = []
        self.asked = [0] * 4
        self.left: set[int] = set()
        place.handle = self.begun.append
        for _ in range(4):
            place.connect()

    def ask(self, client: int) -> None:
        if client not in self.left:
            path = b"/%d-%d" % (client, self.asked[client])
            with contextlib.suppress(BrokenPipeError):  # once it drains
                self.place.clients[client].sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            self.asked[client] += 1

    def leave(self, client: int) -> None:
        self.left.add(client)
        self.place.clients[client].close()

    def respond(self, which: int) -> None:
        if self.begun:
            request = self.begun.pop(which % len(self.begun))
            answer(request, request.path.encode())

    def respond_elsewhere(self, which: int) -> None:
        elsewhere(lambda: self.respond(which))

    def turn(self, which: int) -> None:
        self.place.loop.turn(more=which > 0)

    def poll(self, _: int) -> None:
        self.place.loop.poll(0)

    def poll_elsewhere(self, _: int) -> None:
        elsewhere(lambda: self.place.loop.poll(0))

    def release(self, _: int) -> None:
        self.place.loop.release()

    def wait(self, _: int) -> None:
        self.place.now += 0.001

    def drain(self, _: int) -> None:
        self.place.door.drain(lambda: None)

    def told(self, client: int) -> list[bytes]:
        """What the client's answers say."""
        sock, said = self.place.clients[client], b""
        sock.setblocking(False)
        try:
            while piece := sock.recv(65536):
                said += piece
        except (BlockingIOError, ConnectionResetError):
            pass
        return [line for line in said.replace(b"HTTP/1.1", b"\r\n").split(b"\r\n") if line.startswith(b"/")]


STEPS = [name for name in vars(Course) if not name.startswith("_") and name != "told"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=60))
def test_whatever_the_order_each_answer_goes_out_once_and_in_order(steps):
    with tempfile.TemporaryDirectory(prefix="lo-", dir="/tmp") as folder, contextlib.closing(Place(folder)) as place:
        course = Course(place)
        for step, which in steps:
            getattr(course, step)(which)
        place.turn()
        while course.begun:
            course.respond(-1)
            place.turn()
        for client in {0, 1, 2, 3} - course.left:
            told = course.told(client)
            expected = [b"/%d-%d" % (client, count) for count in range(course.asked[client])]
            assert told == expected[: len(told)]
            # What is sent to a scorer that ends may come too late.
            assert place.door.draining or told == expected
        assert not place.loop._held


def test_nothing_is_lost_between_the_slots_thread_and_its_deputy(place):
    """Real threads: quick requests, some slow, and each client asks again when it has its answer."""
    inbox: Inbox[Request] = Inbox()
    loop = Loop()
    place.loop._epoll.unregister(place.listener.fileno())
    place.open(loop)
    place.turn = lambda: None
    place.handle = inbox.put
    count = 0

    def serve() -> None:
        nonlocal count
        while (request := inbox.get()) is not None:
            count += 1
            if count % 50 == 0:
                threading.Event().wait(0.03)
            answer(request, request.path.encode())

    def ask(client: socket.socket, number: int) -> None:
        for index in range(150):
            path = b"/%d-%d" % (number, index)
            client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            said = b""
            while not said.endswith(path):
                piece = client.recv(65536)
                assert piece
                said += piece
        served.append(number)

    served: list[int] = []
    slot = threading.Thread(target=serve, daemon=True)
    slot.start()
    inbox.serve(loop)
    askers = [threading.Thread(target=ask, args=(place.connect(), number), daemon=True) for number in range(8)]
    for thread in askers:
        thread.start()
    for thread in askers:
        thread.join(30)
    inbox.put(None)
    slot.join(10)
    assert sorted(served) == list(range(8))
    for connection in list(loop._connections.values()):
        connection.close()
