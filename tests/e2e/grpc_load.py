"""gRPC calls through the gateway, one by one or by the thousand, and what became of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from penstock_scorer.grpc.generated import inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
SECONDS = 30.0
SCORE = """\
import os, time
import numpy as np

def init():
    pass

def infer(inputs, parameters):
    if "sleep" in parameters:
        time.sleep(parameters["sleep"])
    if "boom" in parameters:
        raise ValueError("boom")
    return {**inputs, "pid": np.array([os.getpid()])}
"""
"""Answers with what it gets, and says who answers."""


@dataclass(frozen=True)
class Answered:
    """An answer, and who gave it."""

    message: Any
    deployment: str
    instance: int
    """The pid of the worker."""


@dataclass
class Caller:
    """A client of one endpoint, on a connection of its own."""

    port: int
    endpoint: str
    key: str
    credentials: grpc.ChannelCredentials | None = None

    def __post_init__(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = (
            grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options)
            if self.credentials is None
            else grpc.secure_channel(f"localhost:{self.port}", self.credentials, options=options)
        )

    def metadata(self, **more: str) -> tuple[tuple[str, str], ...]:
        """What every call brings, and ``more`` with dashes for underscores."""
        own = {"x-penstock-endpoint": self.endpoint, "authorization": f"Bearer {self.key}"}
        own.update({name.replace("_", "-"): value for name, value in more.items()})
        return tuple(own.items())

    def infer(self, *, timeout: float = SECONDS, parameters: Any = None, **metadata: str) -> Answered:
        """One inference; raises grpc.RpcError."""
        call = self._channel.unary_unary(f"{SERVICE}ModelInfer")
        message, found = call.with_call(
            request(self.endpoint, parameters or {}), metadata=self.metadata(**metadata), timeout=timeout
        )
        answer = pb.ModelInferResponse.FromString(message)
        initial = dict(found.initial_metadata())
        pid = int.from_bytes(answer.raw_output_contents[1], "little")
        return Answered(answer, str(initial["azureml-model-deployment"]), pid)

    def refused(self, **options: Any) -> tuple[str, str]:
        """The status and the sentence of a call that must fail."""
        try:
            self.infer(**options)
        except grpc.RpcError as error:
            # grpcio's errors are calls, too, which its stubs do not say.
            return error.code().name, error.details() or ""  # type: ignore[attr-defined]
        raise AssertionError("it was answered")

    def converse(self, requests: Iterator[bytes]) -> Any:
        """A stream of inferences."""
        call = self._channel.stream_stream(f"{SERVICE}ModelStreamInfer")
        return call(requests, metadata=self.metadata(), timeout=SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(model: str, parameters: Any = (), request_id: str = "") -> bytes:
    """A tensor of three numbers."""
    inputs = [{"name": "x", "datatype": "INT8", "shape": [3]}]
    message = pb.ModelInferRequest(model_name=model, id=request_id, inputs=inputs)
    message.raw_input_contents.append(b"\1\2\3")
    for name, value in dict(parameters).items():
        message.parameters[name].double_param = value
    return bytes(message.SerializeToString())


@dataclass
class Tally:
    """What became of the calls of a load."""

    sent: int = 0
    by_deployment: Counter[str] = field(default_factory=Counter)
    instances: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def more(self, count: int) -> None:
        """Wait until so many calls more were made."""
        goal, deadline = self.sent + count, time.monotonic() + 60
        while self.sent < goal:
            assert time.monotonic() < deadline, "the load does not go on"
            time.sleep(0.02)


@contextmanager
def load(port: int, endpoint: str, key: str, *, connections: int = 3, pause: float = 0.01) -> Iterator[Tally]:
    """Calls one after the other on each connection, from entering the block until its end."""
    tally, stop, lock = Tally(), threading.Event(), threading.Lock()

    def call() -> None:
        with Caller(port, endpoint, key) as caller:
            while not stop.is_set():
                try:
                    answered = caller.infer()
                except grpc.RpcError as error:
                    with lock:
                        # grpcio's errors are calls, too, which its stubs do not say.
                        tally.failures.append(f"{error.code()}: {error.details()}")  # type: ignore[attr-defined]
                else:
                    with lock:
                        tally.by_deployment[answered.deployment] += 1
                        tally.instances.add(answered.instance)
                with lock:
                    tally.sent += 1
                stop.wait(pause)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * SECONDS)
