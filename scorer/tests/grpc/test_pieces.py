"""ModelStreamInfer for scripts that answer in pieces, and what is logged of gRPC's calls."""

import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from penstock_scorer.auth.policy import dump
from penstock_scorer.grpc.generated import inference_pb2 as pb

from scorer.tests.grpc.test_server import Client, eventually, infer_request, refusal

pytestmark = pytest.mark.integration

INFER = """
import time
import numpy as np
def init(): pass
def infer(inputs, parameters):
    try:
        for number in range(int(parameters.get("count", 3))):
            if number == parameters.get("fail"): raise ValueError("boom")
            yield {"y": np.full(int(parameters.get("size", 1)), number, "f4")}
    finally:
        print("closed", flush=True)
"""
ASYNC = INFER.replace("def infer", "async def infer")
AWAITED = ASYNC + "async def run(data): return 1\n"
RUN = "def init(): pass\ndef run(data):\n    yield 'a'\n    yield {'n': 1}\n    yield 2.5\n"
KINDS = pytest.mark.parametrize("text", [INFER, ASYNC, AWAITED], ids=["sync", "async", "awaited"])


@pytest.fixture
def start(serve: Any) -> Any:
    clients: list[Client] = []

    def start(text: str, **environ: str) -> tuple[Any, Client]:
        server = serve(text, "--grpc_uds", "g", **environ)
        clients.append(Client(server))
        return server, clients[-1]

    yield start
    for client in clients:
        client.channel.close()


def contents(answer: Any) -> list[float]:
    return np.frombuffer(answer.infer_response.raw_output_contents[0], "f4").tolist()


@KINDS
def test_each_piece_is_an_answer_and_requests_keep_their_order(start: Any, text: str) -> None:
    server, client = start(text, PENSTOCK_MAX_QUEUE_WAIT_MS="0")
    requests = [infer_request(id=str(number), parameters={"count": number}) for number in (3, 0, 1, 2)]
    answers = list(client.stream(iter(requests)))
    assert [answer.infer_response.id for answer in answers] == ["3", "3", "3", "1", "2", "2"]
    assert [contents(answer) for answer in answers] == [[0.0], [1.0], [2.0], [0.0], [0.0], [1.0]]
    eventually(server, 'penstock_scorer_requests_total{code="200"} 4')
    eventually(server, "requests_in_flight 0")


@KINDS
def test_a_failure_between_pieces_answers_its_request_and_the_stream_goes_on(start: Any, text: str) -> None:
    server, client = start(text)
    requests = [infer_request(id="a", parameters={"fail": 1}), infer_request(id="b", parameters={"fail": 0})]
    answers = list(client.stream(iter([*requests, infer_request(id="c", parameters={"count": 1})])))
    assert [answer.infer_response.id for answer in answers] == ["a", "a", "b", "c"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, True, False]
    assert 'errors_total{kind="script"} 2' in server.get("/metrics").body.decode()


def test_an_output_that_is_not_there_is_the_clients_fault(start: Any) -> None:
    _, client = start(INFER)
    (answer,) = client.stream(iter([infer_request(id="a", outputs=[{"name": "nope"}])]))
    assert answer.error_message == "There is no output 'nope': the script gave 'y'."


@KINDS
def test_a_client_that_does_not_read_holds_the_script_back_until_it_leaves(start: Any, text: str) -> None:
    server, client = start(text, PENSTOCK_MAX_CONCURRENT="2")
    (pid,) = server.workers()

    def resident() -> int:
        return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])

    call = client.stream(iter([infer_request(parameters={"count": 10**9, "size": 100_000})]))
    next(call)
    before = resident()
    time.sleep(1)
    assert resident() - before < 32 * 1024
    assert "closed" not in server.out.read_text()
    other = list(client.stream(iter([infer_request(parameters={"count": 2})])))
    assert len(other) == 2
    assert server.out.read_text().count("closed") == 1
    call.cancel()
    end = time.monotonic() + 15
    while server.out.read_text().count("closed") < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    eventually(server, "requests_in_flight 0")
    eventually(server, 'errors_total{kind="disconnected"} 1')


@KINDS
def test_a_client_that_does_not_read_is_given_up_at_the_scoring_timeout(start: Any, text: str) -> None:
    server, client = start(text, SCORING_TIMEOUT_MS="300")
    workers = server.workers()
    call = client.stream(iter([infer_request(parameters={"count": 10**9, "size": 100_000})]))
    next(call)
    eventually(server, 'errors_total{kind="timeout"} 1')
    assert len(list(client.stream(iter([infer_request(parameters={"count": 2})])))) == 2
    # What was on its way still arrives, and the error behind it.
    while not (answer := next(call)).error_message:
        assert len(contents(answer)) == 100_000
    assert answer.error_message == "The answer took too long."
    call.cancel()
    assert server.workers() == workers


def test_a_plain_run_answers_in_pieces_and_whole_to_ModelInfer(start: Any) -> None:  # noqa: N802 - as it is called
    _, client = start(RUN)
    answers = list(client.stream(iter([infer_request()])))
    outputs = [answer.infer_response.outputs[0] for answer in answers]
    assert [(output.name, output.datatype) for output in outputs] == [
        ("output-0", "BYTES"), ("n", "INT64"), ("output-0", "FP64"),
    ]  # fmt: skip
    whole = client.infer()
    assert whole.outputs[0].parameters["content_type"].string_param == "application/json"
    assert whole.raw_output_contents[0][4:] == b'["a", {"n": 1}, 2.5]'


def test_several_pieces_are_refused_where_there_is_room_for_one(start: Any) -> None:
    server, client = start(INFER)
    assert refusal(lambda: client.infer(parameters={"count": 2})) == (
        "INVALID_ARGUMENT", "The script answers in more than 1 piece(s): ask with ModelStreamInfer, over gRPC.",
    )  # fmt: skip
    assert client.infer(parameters={"count": 1}).outputs
    assert server.out.read_text() == server.out.read_text().split("closed")[0] + "closed\nclosed\n"


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady"])
def test_a_call_without_a_message_gets_an_answer(start: Any, method: str) -> None:
    _, client = start(RUN)
    silent = client.channel.stream_stream(f"/inference.GRPCInferenceService/{method}")
    assert refusal(lambda: list(silent(iter([]), timeout=10))) == ("INVALID_ARGUMENT", "The call has no message.")


TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = """
import logging
import numpy as np
def init(): pass
def infer(inputs, request_headers):
    logging.getLogger("mine").warning("at work")
    return {"seen": np.array([request_headers["traceparent"], request_headers["tracestate"]])}
"""


def test_calls_are_in_the_access_log_with_their_trace(start: Any, tmp_path: Any) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(dump(bytes(16), {"primary": "k"}))
    server, client = start(
        TRACED, PENSTOCK_ACCESS_LOG="true", PENSTOCK_LOG_FORMAT="json", PENSTOCK_AUTH_POLICY=str(policy)
    )
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    key = ("authorization", "Bearer k")
    traced = [key, ("x-request-id", "r1"), ("x-ms-client-request-id", "c1"), ("traceparent", parent)]
    answer = client.infer(metadata=[*traced, ("tracestate", "a=1")])
    assert parent.encode() in answer.raw_output_contents[0]
    refusal(lambda: client.infer(metadata=[key, ("x-request-id", "r2")]))
    refusal(lambda: client.infer(metadata=[("x-request-id", "r3")]))
    refusal(lambda: client("ModelMetadata", pb.ModelMetadataRequest(name="x"), metadata=[key, ("x-request-id", "r4")]))
    stream = client.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer", pb.ModelInferRequest.SerializeToString
    )
    traced[1] = ("x-request-id", "r5")
    list(stream(iter([infer_request()] * 2), metadata=[*traced, ("tracestate", "a=1")]))
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.out.read_text().splitlines() if line.startswith("{")]
    lines = [line for line in lines if line["path"].startswith("/inference.")]
    # A line is written when its answer has gone out, so the next one's may come before it.
    lines.sort(key=lambda line: line.get("request_id", "r3"))
    assert [(line.get("request_id"), line["path"].rpartition("/")[2], line["status"]) for line in lines] == [
        ("r1", "ModelInfer", 200), ("r2", "ModelInfer", 500), (None, "ModelInfer", 401), ("r4", "ModelMetadata", 404),
        ("r5", "ModelStreamInfer", 200), ("r5", "ModelStreamInfer", 200),
    ]  # fmt: skip
    assert (lines[0]["client_request_id"], lines[0]["trace_id"], lines[0]["method"]) == ("c1", TRACE, "POST")
    assert all(line["duration_ms"] >= 0 and line["bytes"] >= 0 for line in lines)
    mine = [json.loads(line) for line in server.err.read_text().splitlines() if '"mine"' in line]
    assert [(line["request_id"], line.get("trace_id")) for line in mine[:2]] == [("r1", TRACE), ("r2", None)]


def test_a_refused_call_has_its_ids(start: Any) -> None:
    _, client = start(RUN)
    with pytest.raises(grpc.RpcError) as error:
        client("ModelMetadata", pb.ModelMetadataRequest(name="x"), metadata=[("x-request-id", "me")])
    assert dict(error.value.initial_metadata())["x-request-id"] == "me"
