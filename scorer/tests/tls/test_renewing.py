"""The look after renewed files goes on whatever goes wrong at one of them."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import pytest
from penstock_scorer.http import renewing


class Files:
    """Files that were replaced as often as ``version`` says."""

    version = 0

    def identity(self) -> tuple[tuple[int, int, int], ...]:
        return ((self.version, 0, 0),)

    def check(self) -> float:
        return time.time() + 1000


def test_one_that_cannot_be_served_yet_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []
    scarce = 3

    class Listener:
        def __init__(self, *_: Any, **__: Any) -> None:
            made.append(self)
            if 1 < len(made) <= 1 + scarce:
                raise OSError(24, "Too many open files")
            self.started = threading.Event()
            self.left = False

        def start(self) -> None:
            self.started.set()

        def leave(self) -> None:
            self.left = True

        def drain(self, done: Any) -> None:
            done()

    monkeypatch.setattr(renewing, "Listener", Listener)
    files: Any = Files()
    with socket.socket() as unused, caplog.at_level(logging.INFO):
        renewing_listener = renewing.RenewingListener(
            unused, lambda _: None, lambda *_: None, 1, files, look_s=0.001, leaving_s=0
        )
        renewing_listener.start()
        files.version = 1
        end = time.monotonic() + 10
        while "Showing a renewed certificate." not in caplog.messages:
            assert time.monotonic() < end
            time.sleep(0.001)
        assert len(made) == 2 + scarce
        assert made[-1].started.is_set()
        assert (made[0].left, made[-1].left) == (True, False)
        # Once, and not at each look.
        assert sum("Too many open files" in message for message in caplog.messages) == 1
        ended = threading.Event()
        renewing_listener.drain(ended.set)
        assert ended.wait(10)
