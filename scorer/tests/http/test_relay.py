"""HTTP/2 by prior knowledge on the socket of HTTP/1.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock_scorer.http import relay as module
from penstock_scorer.http.connection import PREFACE
from penstock_scorer.http.relay import Relay

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def ask(server, *arguments: str) -> tuple[str, bytes]:
    """Status and version, and the body."""
    command = ["curl", "-sS", "--max-time", "20", "--unix-socket", server.uds, "-w", "\n%{http_code} %{http_version}"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=True)
    body, _, said = done.stdout.rpartition(b"\n")
    return said.decode(), body


@curl
@pytest.mark.integration
def test_http_2_is_served_and_nothing_is_left_behind(serve, monkeypatch, tmp_path):
    short = Path(f"/tmp/rl-{os.getpid()}")
    short.mkdir()
    try:
        monkeypatch.setenv("TMPDIR", str(short))
        server = serve("def init(): pass\ndef run(data): return len(data)")
        url = "http://x/score"
        assert ask(server, "--http2-prior-knowledge", "-d", "a" * 100_000, url) == ("200 2", b"100000")
        assert ask(server, "--http2-prior-knowledge", "http://x/") == ("200 2", b"Healthy")
        # Asks to upgrade, with a body.
        assert ask(server, "--http2", "-d", "abc", url) == ("200 1.1", b"3")
        assert ask(server, "--http1.1", "-d", "abc", url) == ("200 1.1", b"3")
        # Whatever ends it now, it has nothing to remove.
        assert list(short.iterdir()) == []
        assert server.stop() == 0
    finally:
        shutil.rmtree(short)


@pytest.mark.integration
def test_a_raw_preface_in_pieces(serve):
    server = serve("def init(): pass\ndef run(data): return len(data)")
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(20)
        wire.connect(server.uds)
        for piece in (PREFACE[:1], PREFACE[1:20], PREFACE[20:] + SETTINGS):
            wire.sendall(piece)
        assert wire.recv(9)[3] == 4  # its own settings
    assert server.score(b"abc").body == b"3"
    assert server.stop() == 0


def read(sock: socket.socket, size: int) -> None:
    """So many bytes."""
    while size:
        piece = sock.recv(min(size, 65536))
        assert piece
        size -= len(piece)


def until_full(sock: socket.socket) -> None:
    """Until nothing more comes to where it is not read."""
    before = -1
    while (waiting := len(sock.recv(1 << 24, socket.MSG_PEEK))) != before:
        before = waiting
        threading.Event().wait(0.05)


@pytest.fixture
def copied() -> Iterator[tuple[socket.socket, socket.socket, threading.Thread]]:
    """A client's end and granian's, and the thread that copies between them."""
    client, ours = socket.socketpair()
    granian, theirs = socket.socketpair()
    thread = threading.Thread(target=module._copy, args=(ours, theirs), daemon=True)
    thread.start()
    yield client, granian, thread
    for each in (client, ours, granian, theirs):
        each.close()


class TestCopying:
    def test_both_ways_until_one_has_closed(self, copied):
        client, granian, thread = copied
        client.sendall(b"ask")
        assert granian.recv(10) == b"ask"
        granian.sendall(b"answer")
        assert client.recv(10) == b"answer"
        client.close()
        thread.join(10)
        assert not thread.is_alive()

    def test_one_that_does_not_read_before_it_has_sent_everything(self, copied):
        """Both sides fill what lies between them, then read: neither way may wait for the other."""
        client, granian, thread = copied
        size = 4_000_000
        answered = threading.Thread(target=granian.sendall, args=(b"a" * size,), daemon=True)
        answered.start()
        # The client's way is full before it sends.
        until_full(client)
        client.settimeout(10)
        granian.settimeout(10)
        asked = threading.Thread(target=read, args=(granian, size), daemon=True)
        asked.start()
        client.sendall(b"q" * size)
        asked.join(10)
        read(client, size)
        answered.join(10)
        granian.close()
        thread.join(10)
        assert not any(each.is_alive() for each in (thread, answered, asked))

    def test_what_is_on_its_way_arrives_before_the_end(self, copied):
        client, granian, thread = copied
        size = 1_000_000

        def answer() -> None:
            granian.sendall(b"a" * size)
            granian.close()

        threading.Thread(target=answer, daemon=True).start()
        until_full(client)
        client.settimeout(10)
        read(client, size)
        thread.join(10)
        assert not thread.is_alive()

    def test_descriptors_of_any_number(self):
        """``select`` knows the first 1024 only."""
        resource = pytest.importorskip("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 1100:
            pytest.skip("needs more descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
        pairs = []
        try:
            while not pairs or pairs[-1][0].fileno() < 1030:
                pairs.append(socket.socketpair())
            one, other = pairs[-1], pairs[-2]
            one[1].sendall(b"ask")
            one[1].shutdown(socket.SHUT_WR)
            module._copy(one[0], other[0])
            assert other[1].recv(10) == b"ask"
        finally:
            for pair in pairs:
                for end in pair:
                    end.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestRoom:
    def test_no_more_than_there_are_threads_for(self, monkeypatch):
        monkeypatch.setattr(module, "_MOST", 0)
        assert self.refused(Relay(None, 1, 1))

    def test_no_more_threads(self, monkeypatch):
        def start(_thread):
            raise RuntimeError("can't start new thread")

        relay = Relay(None, 1, 1)
        monkeypatch.setattr(threading.Thread, "start", start)
        for _ in range(2):
            assert self.refused(relay)
        assert relay._room._value == module._MOST

    @staticmethod
    def refused(relay: Relay) -> bool:
        client, ours = socket.socketpair()
        with client:
            relay.take(ours, PREFACE)
            return client.recv(1) == b""
