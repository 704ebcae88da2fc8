"""Envoy may be killed at any byte of an answer; whoever asked is told that it does not answer, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.admin import Admin, AdminUnreachableError

BODY = json.dumps({"allocated": "1", "heap_size": "2"}).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class HalfDead:
    """Answers each call with the first ``length`` bytes of ``answer``, then closes."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.answer, self.length = b"", 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer[: self.length])
        writer.close()


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[HalfDead]:
    envoy = HalfDead(tmp_path / "a.sock")
    async with await asyncio.start_unix_server(envoy, envoy.socket):
        yield envoy


@pytest.mark.parametrize("answer", [CHUNKED, SIZED], ids=["chunked", "sized"])
async def test_an_answer_cut_anywhere_is_no_answer(envoy: HalfDead, answer: bytes) -> None:
    admin = Admin(envoy.socket)
    envoy.answer = answer
    # Nothing is missing of a chunked answer once the zero of its last chunk has come.
    needed = answer.rindex(b"0\r\n\r\n") + 1 if answer is CHUNKED else len(answer)
    for envoy.length in range(needed):
        with pytest.raises(AdminUnreachableError):
            await admin.memory()
    envoy.length = len(answer)
    assert (await admin.memory()).heap == 2


async def test_an_empty_answer_is_not_ready(envoy: HalfDead) -> None:
    assert not await Admin(envoy.socket).ready()


async def test_nobody_there_is_not_ready(tmp_path: Path) -> None:
    assert not await Admin(tmp_path / "a.sock").ready()
