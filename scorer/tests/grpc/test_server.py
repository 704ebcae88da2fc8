"""The real command with gRPC on a Unix socket: answers, refusals, limits, life and death."""

import json
import os
import re
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from penstock_scorer.auth.policy import dump
from penstock_scorer.grpc.generated import inference_pb2 as pb

pytestmark = pytest.mark.integration

SCRIPT = """
import os, sys, threading, time
import numpy as np
def init():
    global thread
    thread = threading.get_ident()
def infer(inputs, parameters):
    assert thread == threading.get_ident()
    if "sleep" in parameters: time.sleep(parameters["sleep"])
    if "exit" in parameters: os._exit(parameters["exit"])
    if "boom" in parameters: raise ValueError("boom")
    print("ran", flush=True)
    return {**inputs, "pid": np.array([os.getpid()])}
"""


class Client:
    def __init__(self, server: Any, path: str = "g") -> None:
        self.address = path if ":" in path else f"unix:{Path(server.uds).parent}/{path}"
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(self.address, options=options)

    def __call__(self, method: str, request: Any = None, **options: Any) -> Any:
        kind = getattr(pb, method + "Request")
        call = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            kind.SerializeToString,
            getattr(pb, method + "Response").FromString,
        )
        return call(request or kind(), timeout=options.pop("timeout", 20), **options)

    def infer(self, *arrays: Any, timeout: float = 20, metadata: Any = None, **fields: Any) -> Any:
        return self("ModelInfer", infer_request(*arrays, **fields), timeout=timeout, metadata=metadata)

    def stream(self, requests: Any, timeout: float = 20) -> Any:
        return self.channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString,
        )(requests, timeout=timeout)


def infer_request(*arrays: Any, parameters: Any = None, **fields: Any) -> Any:
    request = pb.ModelInferRequest(model_name="model", **fields)
    for index, array in enumerate(arrays or [np.arange(3, dtype="f4")]):
        request.inputs.add(name=f"x{index}", datatype="FP32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    for name, value in (parameters or {}).items():
        setattr(request.parameters[name], "double_param" if isinstance(value, float) else "int64_param", value)
    return request


@pytest.fixture
def start(serve: Any) -> Iterator[Any]:
    clients: list[Client] = []

    def start(text: str = SCRIPT, *arguments: str, **environ: str) -> tuple[Any, Client]:
        where = [] if "--grpc_port" in arguments else ["--grpc_uds", "g"]
        server = serve(text, *where, *arguments, **environ)
        clients.append(Client(server, f"127.0.0.1:{arguments[1]}" if "--grpc_port" in arguments else "g"))
        return server, clients[-1]

    yield start
    for client in clients:
        client.channel.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(server: Any, line: str) -> None:
    """A counter is written after the answer has gone out."""
    end = time.monotonic() + 20
    while line not in server.get("/metrics").body.decode():
        assert time.monotonic() < end
        time.sleep(0.05)


def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code().name, error.value.details()


def test_every_method_answers(start: Any) -> None:
    server, client = start(SERVICE_NAME="iris")
    assert stat.S_IMODE((Path(server.uds).parent / "g").stat().st_mode) == 0o600
    assert client("ServerLive").live
    assert client("ServerReady").ready
    assert client("ServerMetadata").name == "penstock-scorer"
    assert client("ModelReady", pb.ModelReadyRequest(name="iris", version="1")).ready
    assert not client("ModelReady", pb.ModelReadyRequest(name="other")).ready
    assert not client("ModelReady", pb.ModelReadyRequest(name="iris", version="2")).ready
    metadata = client("ModelMetadata", pb.ModelMetadataRequest(name="iris"))
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("iris", ["1"], "python")
    request = infer_request(np.ones((2, 1), "f4"), id="7")
    request.model_name = "iris"
    answer = client("ModelInfer", request)
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "1", "7")
    assert [output.name for output in answer.outputs] == ["x0", "pid"]
    assert list(answer.outputs[0].shape) == [2, 1]
    assert answer.raw_output_contents[0] == np.ones(2, "f4").tobytes()
    eventually(server, 'penstock_scorer_requests_total{code="200"} 8')
    assert server.stop() == 0
    assert not (Path(server.uds).parent / "g").exists()


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-1, 5]),
        ("INT32", "int_contents", [-(2**31), 5]),
        ("INT64", "int64_contents", [-(2**63), 5]),
        ("UINT8", "uint_contents", [255, 5]),
        ("UINT16", "uint_contents", [65535, 5]),
        ("UINT32", "uint_contents", [2**32 - 1, 5]),
        ("UINT64", "uint64_contents", [2**64 - 1, 5]),
        ("FP32", "fp32_contents", [1.5, float("inf")]),
        ("FP64", "fp64_contents", [0.1, -1e300]),
        ("BYTES", "bytes_contents", [b"\xff", b""]),
    ],
)
def test_typed_contents(datatype: str, field: str, values: Any) -> None:
    from penstock_scorer.grpc import codec  # noqa: PLC0415
    from penstock_scorer.inference.model import Model  # noqa: PLC0415

    model = Model("model", "1")
    request = pb.ModelInferRequest(model_name="model")
    entry = request.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(entry.contents, field).extend(values)
    found = codec.parse(model, request.SerializeToString())
    assert found.inputs["x"].tolist() == values
    assert found.datatypes["x"].value == datatype


def test_what_is_wrong_with_a_request_is_said_in_a_sentence(start: Any) -> None:
    _, client = start()

    def wrong(**changes: Any) -> tuple[str, str]:
        request = infer_request()
        for name, value in changes.items():
            if name in ("model_name", "model_version"):
                setattr(request, name, value)
            else:
                setattr(request.inputs[0], name, value)
        return refusal(lambda: client("ModelInfer", request))

    assert wrong(model_name="other") == ("NOT_FOUND", "There is no model 'other': this server has 'model'.")
    assert wrong(model_name="o" * 100_000)[0] == "NOT_FOUND"
    assert wrong(model_version="9") == ("NOT_FOUND", "Model 'model' has no version '9': it has '1'.")
    assert wrong(datatype="FP8") == ("INVALID_ARGUMENT", "The datatype of tensor 'x0' is 'FP8', which is not known.")
    assert wrong(name="") == ("INVALID_ARGUMENT", "An input has no name.")
    huge = infer_request()
    huge.inputs[0].shape[:] = [2**62, 2**62]
    assert refusal(lambda: client("ModelInfer", huge))[1].startswith("Tensor 'x0' has 12 bytes of contents")
    two = infer_request(np.ones(1, "f4"), np.ones(1, "f4"))
    del two.raw_input_contents[1]
    assert refusal(lambda: client("ModelInfer", two))[1] == "There are 1 raw_input_contents for 2 inputs."
    both = infer_request()
    both.inputs[0].contents.fp32_contents.append(1)
    assert "both contents and raw_input_contents" in refusal(lambda: client("ModelInfer", both))[1]
    half = pb.ModelInferRequest(model_name="model", inputs=[{"name": "x", "datatype": "FP16", "shape": [1]}])
    assert "FP16: it must be in raw_input_contents" in refusal(lambda: client("ModelInfer", half))[1]
    wanted = infer_request(outputs=[{"name": "nope"}])
    assert refusal(lambda: client("ModelInfer", wanted)) == (
        "INVALID_ARGUMENT", "There is no output 'nope': the script gave 'x0', 'pid'.",
    )  # fmt: skip
    boom = refusal(lambda: client.infer(parameters={"boom": 1}))
    assert boom == ("INTERNAL", "An unexpected error occurred in scoring script. Check the logs for more info.")
    for method in ("Nothing", "ModelNothing"):
        nothing = client.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        assert refusal(lambda call=nothing: call(b"")) == ("UNIMPLEMENTED", "There is no such method.")
    for method in ("ModelInfer", "ModelReady"):
        garbage = client.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        assert refusal(lambda call=garbage: call(b"\x0a\xff"))[0] == "INVALID_ARGUMENT"
    long_id = [("x-request-id", "i" * 101)]
    assert refusal(lambda: client.infer(metadata=long_id))[0] == "INVALID_ARGUMENT"


def test_ids_travel_as_metadata(start: Any) -> None:
    _, client = start()
    call = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    _, found = call.with_call(infer_request().SerializeToString(), metadata=[("x-request-id", "me")])
    metadata = dict(found.initial_metadata())
    assert metadata["x-request-id"] == "me"
    assert float(metadata["x-ms-run-fn-exec-ms"]) >= 0


def test_a_stream_answers_in_order_and_survives_errors(start: Any) -> None:
    _, client = start()
    bad = infer_request(id="1")
    bad.inputs[0].shape[0] = 9
    requests = [infer_request(id="0"), bad, infer_request(id="2", parameters={"boom": 1}), infer_request(id="3")]
    answers = list(client.stream(iter(requests)))
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2", "3"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, True, False]
    assert answers[3].infer_response.raw_output_contents[0] == np.arange(3, dtype="f4").tobytes()
    assert list(client.stream(iter([]))) == []


def test_a_key_is_required_where_there_is_a_policy(start: Any, tmp_path: Any) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(dump(bytes(16), {"primary": "k"}))
    _, client = start(PENSTOCK_AUTH_POLICY=str(policy))
    assert client("ServerLive").live
    code, details = refusal(client.infer)
    assert code == "UNAUTHENTICATED"
    assert "authorization: Bearer KEY" in details
    assert refusal(lambda: client("ModelReady"))[0] == "UNAUTHENTICATED"
    assert client.infer(metadata=[("authorization", "Bearer k")]).outputs
    assert refusal(lambda: client.infer(metadata=[("authorization", "Bearer x")]))[0] == "UNAUTHENTICATED"
    stream = client.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    assert refusal(lambda: list(stream(iter([b""]))))[0] == "UNAUTHENTICATED"


def test_health_is_answered_while_the_script_computes_and_the_queue_is_one(start: Any) -> None:
    server, client = start(SCRIPT + "def run(data): return 1", PENSTOCK_MAX_QUEUE_WAIT_MS="0")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.infer, parameters={"sleep": 1.0})
        time.sleep(0.3)
        began = time.monotonic()
        assert client("ServerReady").ready
        assert server.get("/").status == 200
        assert server.score("{}").status == 429
        code, details = refusal(client.infer)
        assert (code, details) == (
            "RESOURCE_EXHAUSTED", "Too many requests: every slot of this instance is busy. Try again later.",
        )  # fmt: skip
        assert time.monotonic() - began < 0.6
        assert slow.result().outputs
    eventually(server, "requests_in_flight 0")


def test_work_whose_caller_is_late_or_gone_is_dropped_and_counted(start: Any) -> None:
    server, client = start()
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(client.infer, parameters={"sleep": 1.0})
        time.sleep(0.3)
        late = pool.submit(refusal, lambda: client.infer(timeout=0.2))
        call = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        cancelled = call.future(infer_request().SerializeToString())
        time.sleep(0.2)
        cancelled.cancel()
        assert slow.result().outputs
        assert late.result()[0] == "DEADLINE_EXCEEDED"
    assert client.infer().outputs
    assert server.out.read_text().count("ran") == 2
    found = re.findall(r'errors_total{kind="(?:expired|disconnected)"} (\d+)', server.get("/metrics").body.decode())
    assert sum(map(int, found)) == 2
    eventually(server, "requests_in_flight 0")


def test_what_is_in_flight_at_sigterm_completes(start: Any) -> None:
    server, client = start()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.infer, parameters={"sleep": 0.3}) for _ in range(3)]
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert all(answer.result().outputs for answer in waiting)
    assert server.process.wait(10) == 0


def test_workers_share_a_port_and_one_that_dies_is_replaced(start: Any) -> None:
    port = free_port()
    server, client = start(SCRIPT, "--grpc_port", str(port), "--worker_count", "2")
    pids = set()
    for _ in range(40):
        other = Client(server, f"127.0.0.1:{port}")
        pids.add(np.frombuffer(other.infer().raw_output_contents[1], "i8")[0])
        other.channel.close()
    assert pids == set(server.workers())
    assert refusal(lambda: client.infer(parameters={"exit": 7}))[0] == "UNAVAILABLE"
    eventually(server, "workers_ready 2")
    for _ in range(10):
        assert client("ServerReady", wait_for_ready=True).ready


def test_workers_have_a_socket_each_and_make_it_anew_after_kill_9(start: Any) -> None:
    server, client = start(SCRIPT, "--worker_count", "2")
    client.channel.close()
    folder = Path(server.uds).parent
    assert sorted(path.name for path in folder.glob("g*")) == ["g.0", "g.1"]
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for path in ("g.0", "g.1"):
        other = Client(server, path)
        end = time.monotonic() + 20
        while True:
            try:
                answer = other.infer(timeout=1)
                break
            except grpc.RpcError:
                assert time.monotonic() < end
        assert np.frombuffer(answer.raw_output_contents[1], "i8")[0] not in before
        other.channel.close()


def test_a_port_or_socket_in_use_is_an_error_before_anything_starts(serve: Any) -> None:
    with socket.socket() as taken:
        # Willing to share, as another scorer's would be: still not ours to take.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = serve(SCRIPT, "--grpc_port", str(taken.getsockname()[1]), ready=False)
        assert server.process.wait(10) == 1
        assert json.loads(server.failure_file.read_text())["reason"] == "AddressInUse"
    missing = serve(SCRIPT, "--grpc_uds", "no/such/folder/g", ready=False)
    assert missing.process.wait(10) == 1
    assert "its folder does not exist" in missing.err.read_text()


def test_a_megabyte_from_many_clients_at_once_reaches_the_right_ones(start: Any) -> None:
    _, client = start(PENSTOCK_MAX_CONCURRENT="3")

    def ask(number: int) -> bool:
        array = np.full(2**18, number, "f4")
        return bool(client.infer(array).raw_output_contents[0] == array.tobytes())

    script_threads = SCRIPT.replace("assert thread == threading.get_ident()", "pass")
    _, client = start(script_threads, PENSTOCK_MAX_CONCURRENT="3")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))


def test_concurrent_requests_are_merged_and_each_gets_its_own_rows(start: Any) -> None:
    text = """
import time
import numpy as np
calls = 0
def init(): pass
def infer(inputs):
    global calls
    calls += 1
    time.sleep(0.02)
    return {"y": inputs["x0"] * 2, "calls": np.full(len(inputs["x0"]), calls)}
"""
    server, client = start(text)

    def ask(number: int) -> int:
        array = np.full((1 + number % 3, 4), number, "f4")
        if number % 10 == 9:
            bad = infer_request(array)
            bad.inputs[0].shape[0] = 99
            assert refusal(lambda: client("ModelInfer", bad))[0] == "INVALID_ARGUMENT"
            return 0
        answer = client.infer(array)
        assert answer.raw_output_contents[0] == (array * 2).tobytes()
        return int(np.frombuffer(answer.raw_output_contents[1], "i8")[0])

    with ThreadPoolExecutor(16) as pool:
        calls = max(pool.map(ask, range(100)))
    assert calls < 60
    assert "batch_size" in server.get("/metrics").body.decode()


def test_a_client_that_stops_reading_or_sends_garbage_harms_nobody(start: Any) -> None:
    server, client = start()
    sockets = []
    for text in (b"GARBAGE\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, b""):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(client.address.removeprefix("unix:"))
        raw.sendall(text)
        sockets.append(raw)
    stop = threading.Event()
    stream = client.stream(iter(lambda: None if stop.is_set() else infer_request(np.ones(2**18, "f4")), None))
    time.sleep(0.3)
    assert client.infer(timeout=5).outputs
    stop.set()
    stream.cancel()
    for raw in sockets:
        raw.close()
    assert client.infer(timeout=5).outputs
    assert server.stop() == 0
