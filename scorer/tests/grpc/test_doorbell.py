"""gRPC on a Unix socket is loaded by the first call, and nothing fails for it."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.integration

SCRIPT = "def init(): pass\ndef run(data): return 1\n"
SLOW = """
import numpy as np, os, time
def init():
    if os.path.exists("slow"): time.sleep(1)
def infer(inputs): return {"pid": np.array([os.getpid()])}
"""
LIVE = "/inference.GRPCInferenceService/ServerLive"
_CONNECTED = "03"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


@pytest.fixture
def channels() -> Iterator[Any]:
    made: list[grpc.Channel] = []

    def channel(server: Any) -> grpc.Channel:
        made.append(grpc.insecure_channel(address(server), options=[("grpc.use_local_subchannel_pool", 1)]))
        return made[-1]

    yield channel
    for each in made:
        each.close()


def address(server: Any) -> str:
    return f"unix:{Path(server.uds).parent}/g"


def loaded(server: Any) -> bool:
    return any("cygrpc" in Path(f"/proc/{pid}/maps").read_text() for pid in server.workers())


def passed_through(server: Any) -> int:
    """Connections that were made before gRPC was there, and still are."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return sum(line[5:6] == [_CONNECTED] and line[-1] == address(server).removeprefix("unix:") for line in lines)


def test_nothing_is_loaded_before_somebody_calls(serve: Any, channels: Any) -> None:
    server = serve(SCRIPT, "--grpc_uds", "g")
    with socket.socket(socket.AF_UNIX) as looking:
        looking.connect(address(server).removeprefix("unix:"))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(address(server).removeprefix("unix:"))
        assert server.score("{}").status == 200
        assert not loaded(server)
        assert channels(server).unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"
        assert loaded(server)
    assert sorted(path.name for path in Path(server.uds).parent.glob("g*")) == ["g"]
    assert server.stop() == 0
    assert list(Path(server.uds).parent.glob("g*")) == []


def test_many_who_call_first_are_all_answered(serve: Any, channels: Any) -> None:
    server = serve(SCRIPT, "--grpc_uds", "g")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: channels(server).unary_unary(LIVE)(b"", timeout=20), range(8)))
    assert answers == [b"\x08\x01"] * 8


def test_who_called_first_moves_to_a_connection_of_its_own(serve: Any, channels: Any) -> None:
    server = serve(SLOW, "--grpc_uds", "g")
    channel = channels(server)
    more = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"\x0a\x05model"
        more.wait()
        yield b"\x0a\x05model"

    # It rings, and goes on where it began, while other calls of the same client come on a new connection.
    conversation = channel.stream_stream(STREAM)(requests(), timeout=20)
    assert next(conversation)
    for _ in range(3):
        assert channel.unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"
    assert passed_through(server) == 1
    more.set()
    assert len(list(conversation)) == 1
    end = time.monotonic() + 10
    while passed_through(server):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_calls_wait_for_a_worker_that_replaces_another(serve: Any, channels: Any) -> None:
    server = serve(SLOW, "--grpc_uds", "g")
    assert channels(server).unary_unary(LIVE)(b"", timeout=20)
    (before,) = server.workers()
    (Path(server.uds).parent / "slow").touch()
    os.kill(before, signal.SIGKILL)
    end = time.monotonic() + 10
    while server.workers() in ([], [before]) or not is_listening(server):
        assert time.monotonic() < end
        time.sleep(0.01)
    # `init` has not returned yet.
    assert channels(server).unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"


def test_grpc_that_cannot_be_loaded_costs_http_nothing(serve: Any, channels: Any, tmp_path: Path) -> None:
    (tmp_path / "grpc").mkdir()
    (tmp_path / "grpc/__init__.py").write_text("raise ImportError('broken beyond repair')")
    server = serve(SCRIPT, "--grpc_uds", "g", PYTHONPATH=str(tmp_path))
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as refused:
            channels(server).unary_unary(LIVE)(b"", timeout=20)
        # grpcio's errors are calls, too, which its stubs do not say.
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
    assert server.score("{}").status == 200
    said = server.err.read_text() + server.out.read_text()
    assert said.count("gRPC cannot be served") == 1
    assert server.stop() == 0


def is_listening(server: Any) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address(server).removeprefix("unix:")) == 0
