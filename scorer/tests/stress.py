"""Clients that behave as many do, and as few should: each chooses at random, from a seed, what to send and how.

Every request carries a token that its answer must bring back, so that an answer that is lost, doubled or another's is
noticed by the client that meets it. Whatever a client waits for has a deadline.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

PATIENCE_S = 30.0
_RESET = struct.pack("ii", 1, 0)
_BIG = 400_000
_MOST = 65536


@dataclass(frozen=True)
class Ask:
    """One request, and how its answer must look."""

    sent: bytes
    token: str
    status: int
    body: Callable[[bytes], bool]
    bodiless: bool = False
    last: bool = False
    """Whether the connection ends behind its answer."""


@dataclass
class Tally:
    """What all clients have seen."""

    answers: Counter[int] = field(default_factory=Counter)
    """Answers to ``/score``, by status."""
    left: int = 0
    """Requests whose clients did not wait for the answer."""
    acts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class WrongError(Exception):
    """An answer is not what it should be."""


class Answers:
    """Reads answers from a connection, piece by piece."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ended = False
        self.more = b""
        """What is here of the answers to come."""

    def fill(self, most: int = _MOST) -> None:
        """Read what there is."""
        try:
            piece = self.sock.recv(most)
        except BlockingIOError:
            return
        except (ConnectionResetError, BrokenPipeError):
            piece = b""
        self.ended = self.ended or not piece
        self.more += piece

    def next(self, *, bodiless: bool) -> tuple[int, dict[str, str], bytes] | None:
        """The next answer, where all of it is here."""
        while self.more.startswith(b"HTTP/1.1 100 "):
            _, found, rest = self.more.partition(b"\r\n\r\n")
            if not found:
                return None
            self.more = rest
        head, found, rest = self.more.partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        if not first.startswith("HTTP/1.1 "):
            raise WrongError(f"no answer begins like this: {self.more[:200]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body: bytes | None = b""
        if not bodiless:
            if headers.get("transfer-encoding") == "chunked":
                body, rest = _dechunked(rest)
            else:
                length = int(headers["content-length"])
                body, rest = (rest[:length], rest[length:]) if len(rest) >= length else (None, rest)
        if body is None:
            return None
        self.more = rest
        return int(first[9:12]), headers, body


def _dechunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, found, rest = data.partition(b"\r\n")
        if not found or len(rest) < int(size, 16) + 2:
            return None, b""
        length = int(size, 16)
        body, data = body + rest[:length], rest[length + 2 :]
        if not length:
            return body, data


class Client:
    """One of many, in a thread of its own.

    Args:
        connect: Opens a connection.
        seed: Of its choices.
        mix: How often it asks for what.
        key: Sent with every request, where the scorer asks for one.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], seed: int, tally: Tally, mix: dict[str, int], key: str = ""
    ) -> None:
        self._connect = connect
        self._random = random.Random(seed)
        self._seed = seed
        self._tally = tally
        self._key = key
        self._mix = mix
        self._count = 0

    def run(self, until: float) -> None:
        """Be a client until then (``time.monotonic``)."""
        acts = [self.keep_alive, self.pipeline, self.leave, self.read_slowly, self.say_nonsense]
        while time.monotonic() < until and not self._tally.problems:
            act = self._random.choices(acts, (6, 6, 3, 1, 1))[0]
            with self._tally.lock:
                self._tally.acts[act.__name__] += 1
            try:
                with self._connect() as sock:
                    sock.setblocking(False)
                    act(sock)
            except (WrongError, OSError, ValueError, KeyError) as problem:
                self._tally.problems.append(f"client {self._seed}, {act.__name__}: {problem!r}")

    # ------------------------------------------------------------------ what it does

    def keep_alive(self, sock: socket.socket) -> None:
        """A few requests, one after the other."""
        answers = Answers(sock)
        for _ in range(self._random.randint(1, 20)):
            self.ask(answers, [self.choose()])

    def pipeline(self, sock: socket.socket) -> None:
        """Some at once, without waiting."""
        asks = [self.choose() for _ in range(self._random.randint(2, 20))]
        if self._random.random() < 0.1:
            asks.append(self._random.choice([self.oversized, self.garbage])())
        self.ask(Answers(sock), asks)

    def leave(self, sock: socket.socket) -> None:
        """Leave: before the request is whole, while it waits or runs, while its answer comes."""
        choice = self._random
        asks = [self.choose(choice.choice(["quick", "sleep", "stream", "big"])) for _ in range(choice.randint(1, 4))]
        data = b"".join(ask.sent for ask in asks)
        whole = choice.random() < 0.7
        if not whole:
            data = data[: choice.randrange(len(data))]
        with self._tally.lock:
            self._tally.left += len(asks)
        sock.setblocking(True)
        sock.settimeout(PATIENCE_S)
        if choice.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(data)
        if choice.random() < 0.5:
            time.sleep(choice.random() * 0.03)
        if whole and choice.random() < 0.6:
            sock.recv(choice.choice([1, 500, 5000]))
        how = choice.random()
        if how < 0.4:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif how < 0.7:
            sock.shutdown(choice.choice([socket.SHUT_WR, socket.SHUT_RDWR]))
            time.sleep(choice.random() * 0.01)

    def read_slowly(self, sock: socket.socket) -> None:
        """Big answers, in small bites."""
        # With less than two segments of loopback TCP would send by its persist timer alone: minutes for one answer.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        asks = [self.choose(self._random.choice(["big", "big", "stream", "quick"])) for _ in range(3)]
        self.ask(Answers(sock), asks, bite=20_000)

    def say_nonsense(self, sock: socket.socket) -> None:
        """What is refused, behind what is not."""
        before = [self.choose() for _ in range(self._random.randint(0, 3))]
        self.ask(Answers(sock), [*before, self._random.choice([self.oversized, self.garbage, self.stranger])()])

    # ------------------------------------------------------------------ how it asks

    def ask(self, answers: Answers, asks: list[Ask], bite: int = _MOST) -> None:
        """Send these, cut anywhere, and read their answers, in order."""
        pieces, waits, end = self._cut(b"".join(ask.sent for ask in asks)), deque(asks), time.monotonic() + PATIENCE_S
        while waits:
            if time.monotonic() > end:
                raise WrongError(f"no answer to {waits[0].sent[:300]!r}, {len(waits)} waiting, {len(pieces)} unsent")
            _wait(answers.sock, write=bool(pieces))
            self._send_some(answers.sock, pieces)
            answers.fill(bite)
            if bite < _MOST:
                time.sleep(0.002)
            while waits and (answer := answers.next(bodiless=waits[0].bodiless)) is not None:
                self._judge(waits.popleft(), *answer)
            if answers.ended and waits:
                raise WrongError(f"closed before the answer to {waits[0].sent[:300]!r}, {len(waits)} waiting")
        # Nothing may follow a refusal.
        while asks[-1].last and not answers.ended:
            if time.monotonic() > end:
                raise WrongError("not closed behind a refusal")
            _wait(answers.sock, write=False)
            answers.fill()
        if answers.more:
            raise WrongError(f"more than was asked for: {answers.more[:200]!r}")

    def _cut(self, data: bytes) -> deque[bytes]:
        places = self._random.sample(range(1, len(data)), min(self._random.choice([0, 0, 0, 1, 3, 10]), len(data) - 1))
        ends = [0, *sorted(places), len(data)]
        return deque(data[start:end] for start, end in pairwise(ends))

    def _send_some(self, sock: socket.socket, pieces: deque[bytes]) -> None:
        """One piece, or what there is room for, and perhaps a pause."""
        try:
            if pieces:
                pieces[0] = pieces[0][sock.send(pieces[0]) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            pieces.clear()
        if pieces and not pieces[0]:
            pieces.popleft()
            if pieces and self._random.random() < 0.5:
                time.sleep(self._random.random() * 0.003)

    def _judge(self, ask: Ask, status: int, headers: dict[str, str], body: bytes) -> None:
        if headers.get("x-request-id", ask.token) != ask.token:
            raise WrongError(f"the answer to {headers['x-request-id']} came to {ask.token}")
        if status != ask.status or not ask.body(body):
            raise WrongError(f"{status} {body[:200]!r} to {ask.sent[:300]!r}")
        if b" /score " in ask.sent[:20]:
            with self._tally.lock:
                self._tally.answers[status] += 1

    # ------------------------------------------------------------------ what it asks for

    def choose(self, kind: str = "") -> Ask:
        """Any request that has an answer."""
        choice = self._random
        self._count += 1
        token = f"t{self._seed}-{self._count}"
        if not kind or not self._mix[kind]:
            kind = choice.choices([*self._mix], [*self._mix.values()])[0]
        if kind in {"health", "head"}:
            sent = f"{'HEAD' if kind == 'head' else 'GET'} / HTTP/1.1\r\nHost: x\r\nX-Request-Id: {token}\r\n\r\n"
            expected = b"Healthy" if kind == "health" else b""
            return Ask(sent.encode(), token, 200, lambda body: body == expected, bodiless=kind == "head")
        told: dict[str, object] = {"token": token, "kind": kind, "pad": "x" * choice.choice([0, 0, 10, 3000, 40_000])}
        if kind == "sleep":
            told["seconds"] = choice.random() * 0.03
        if kind == "stream":
            told["pieces"] = choice.choice([1, 2, 10, 200])
        text = json.dumps(told).encode()

        def right(body: bytes) -> bool:
            if kind == "stream":
                return body == b"".join(b"%s:%d;" % (token.encode(), number) for number in range(int(told["pieces"])))  # type: ignore[call-overload]
            said = json.loads(body)
            if kind == "fail":
                return "message" in said
            return said["token"] == token and (kind != "big" or len(said["big"]) == _BIG)

        return Ask(self._post(token, text), token, 500 if kind == "fail" else 200, right)

    def oversized(self) -> Ask:
        """More than the scorer takes."""
        self._count += 1
        token = f"t{self._seed}-{self._count}"
        return Ask(self._post(token, b"x" * 200_000), token, 413, lambda body: b"larger" in body, last=True)

    def garbage(self) -> Ask:
        """Nothing that could be a request."""
        sent = self._random.choice(
            [b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"GARBAGE\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
        )
        return Ask(sent, "", 400, lambda body: b"not a request" in body, last=True)

    def stranger(self) -> Ask:
        """A request with the wrong key, where one is asked for."""
        if not self._key:
            return self.garbage()
        sent = b"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Length: 2\r\n\r\n{}"
        return Ask(sent, "", 401, lambda body: b"error" in body)

    def _post(self, token: str, body: bytes) -> bytes:
        choice = self._random
        head = f"POST /score HTTP/1.1\r\nHost: x\r\nX-Request-Id: {token}\r\nAccept: text/plain\r\n"
        if self._key:
            head += f"Authorization: Bearer {self._key}\r\n"
        if choice.random() < 0.1:
            head += "Expect: 100-continue\r\n"
        if choice.random() < 0.7:
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        sent, rest = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), body
        while rest:
            size = choice.randint(1, max(1, len(rest)))
            sent += b"%x\r\n%s\r\n" % (size, rest[:size])
            rest = rest[size:]
        return sent + b"0\r\n\r\n"


def _wait(sock: socket.socket, *, write: bool) -> None:
    ready = select.poll()
    ready.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
    ready.poll(100)


def crowd(clients: list[Client], seconds: float) -> None:
    """All of them at once, for so long."""
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client.run, args=(until,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 3 * PATIENCE_S)
    with contextlib.suppress(StopIteration):
        next(thread for thread in threads if thread.is_alive())
        raise AssertionError("a client hangs")
