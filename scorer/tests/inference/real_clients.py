"""Run by test_real_clients.py in an environment of its own: the public clients against a server that is up.

Usage: real_clients.py HTTP_PORT GRPC_PORT WHICH. Fails by raising.
"""

import asyncio
import queue
import sys
import warnings
from collections.abc import Callable

import ml_dtypes
import numpy as np

warnings.simplefilter("ignore")
PORT, GRPC_PORT, WHICH = sys.argv[1:]
HTTP = f"127.0.0.1:{PORT}"
GRPC = f"127.0.0.1:{GRPC_PORT}"
ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{
        f"{sign}INT{bits}": np.array([[0, 100]], f"{sign}int{bits}".lower())
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.array([[0.5, -2]], np.float16),
    "FP32": np.array([[0.5, -2]], np.float32),
    "FP64": np.array([[0.1, -2]], np.float64),
    "BYTES": np.array([[b"a", b"\xff\x00"]], np.object_),
}


def triton(module: object, url: str, *, http: bool) -> None:
    """Everything of the protocol a tritonclient can ask."""
    client = module.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("other")
    server, model = client.get_server_metadata(), client.get_model_metadata("iris")
    name = server["name"] if http else server.name
    assert name == "penstock-scorer"
    assert list(model["versions"] if http else model.versions) == ["1"]
    for datatype, array in ARRAYS.items():
        sent = module.InferInput("x", array.shape, datatype)
        sent.set_data_from_numpy(array)
        result = client.infer("iris", [sent], request_id="7")
        assert result.as_numpy("x").tolist() == array.tolist(), datatype
        assert result.as_numpy("x").dtype == array.dtype, datatype
        assert (result.get_response()["id"] if http else result.get_response().id) == "7"
    half = module.InferInput("x", (1, 2), "BF16")
    half.set_data_from_numpy(np.array([[1.5, -2]], ml_dtypes.bfloat16))
    assert client.infer("iris", [half]).as_numpy("x").tolist() == [[1.5, -2.0]]
    both = [module.InferInput(name, (1, 2), "FP32") for name in ("x", "y")]
    for entry in both:
        entry.set_data_from_numpy(ARRAYS["FP32"])
    wanted = client.infer("iris", both, outputs=[module.InferRequestedOutput("y")], parameters={"scale": 2})
    assert wanted.as_numpy("x") is None
    assert wanted.as_numpy("y").tolist() == [[1.0, -4.0]]
    if http:
        entry = module.InferInput("x", (1, 2), "FP32")
        entry.set_data_from_numpy(ARRAYS["FP32"], binary_data=False)
        asked = [module.InferRequestedOutput("x", binary_data=False)]
        assert client.infer("iris", [entry], outputs=asked).as_numpy("x").tolist() == [[0.5, -2.0]]
    big = np.random.default_rng(0).random((1024, 1024), np.float32)
    sent = module.InferInput("x", big.shape, "FP32")
    sent.set_data_from_numpy(big)
    assert (client.infer("iris", [sent]).as_numpy("x") == big).all()
    sent.set_shape((1, 1))
    for name, expected in (("iris", "bytes of contents"), ("other", "There is no model 'other'")):
        assert expected in refusal(lambda name=name: client.infer(name, [sent])), expected
    client.close()


def refusal(call: Callable[[], object]) -> str:
    """What a call that must fail raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - each client has a kind of its own
        return str(error)
    return "nothing"


def triton_stream(module: object) -> None:
    """Several inferences on one stream."""
    client, answers = module.InferenceServerClient(GRPC), queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    sent = module.InferInput("x", (1, 2), "FP32")
    sent.set_data_from_numpy(ARRAYS["FP32"])
    for number, model in enumerate(("iris", "other", "iris")):
        client.async_stream_infer(model, [sent], request_id=str(number))
    (first, _), (_, error), (last, _) = (answers.get(timeout=10) for _ in range(3))
    assert (first.get_response().id, last.get_response().id) == ("0", "2")
    assert "There is no model 'other'" in str(error)
    # A client that asks for it is told which answer is a request's last.
    client.async_stream_infer("iris", [sent], request_id="3", enable_empty_final_response=True)
    only, _ = answers.get(timeout=10)
    assert only.get_response().parameters["triton_final_response"].bool_param is True
    assert only.as_numpy("x").tolist() == [[0.5, -2.0]]
    client.stop_stream()
    client.close()


def triton_pieces(module: object) -> None:
    """Several answers to one request, as Triton's decoupled models give them."""
    client, answers = module.InferenceServerClient(GRPC), queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    sent = module.InferInput("x", (3,), "INT64")
    sent.set_data_from_numpy(np.array([1, 2, 3]))
    for number in range(2):
        client.async_stream_infer("iris", [sent], request_id=str(number), enable_empty_final_response=number == 1)
    found = [answers.get(timeout=10)[0] for _ in range(7)]
    assert [result.get_response().id for result in found] == ["0"] * 3 + ["1"] * 4
    assert [result.as_numpy("y").tolist() for result in found[:6]] == [[1], [2], [3]] * 2
    assert not any("triton_final_response" in result.get_response().parameters for result in found[:3])
    final = [result.get_response().parameters["triton_final_response"].bool_param for result in found[3:]]
    assert final == [False, False, False, True]
    assert not found[-1].get_response().outputs
    assert "ask with ModelStreamInfer" in refusal(lambda: client.infer("iris", [sent]))
    client.stop_stream()
    client.close()


def as_bytes(array: np.ndarray) -> list[object]:
    """The elements; kserve decodes BYTES that come in binary over REST, and leaves the others."""
    return [[text.encode() if isinstance(text, str) else text for text in row] for row in array.tolist()]


async def kserve() -> None:
    """The kserve client's protocol classes, over both transports."""
    from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig  # noqa: PLC0415

    rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    grpc = InferenceGRPCClient(GRPC)
    url = f"http://{HTTP}"
    assert await rest.is_server_live(url)
    assert await rest.is_server_ready(url)
    assert await rest.is_model_ready(url, "iris")
    assert await grpc.is_server_live()
    assert await grpc.is_server_ready()
    assert await grpc.is_model_ready("iris")
    arrays = {**ARRAYS, "BYTES": np.array([[b"a", "\u00e9".encode()]], np.object_)}
    for datatype, array in arrays.items():
        for binary in (True, False):
            if not binary and datatype in ("FP16", "BYTES"):
                continue  # its JSON has no FP16, and gives text where it was given bytes
            entry = InferInput("x", list(array.shape), datatype)
            entry.set_data_from_numpy(array, binary_data=binary)
            request = InferRequest("iris", [entry], request_id="7", parameters={"binary_data_output": binary})
            answer = await rest.infer(url, request, model_name="iris")
            assert answer.id == "7"
            assert as_bytes(answer.outputs[0].as_numpy()) == array.tolist(), (datatype, binary)
            answer = await grpc.infer(InferRequest("iris", [entry], request_id="7"))
            assert answer.id == "7"
            assert as_bytes(answer.outputs[0].as_numpy()) == array.tolist(), (datatype, binary)
    await rest.close()
    await grpc.close()


if WHICH == "kserve":
    asyncio.run(kserve())
elif WHICH == "triton-http":
    import tritonclient.http

    triton(tritonclient.http, HTTP, http=True)
elif WHICH == "triton-pieces":
    import tritonclient.grpc

    triton_pieces(tritonclient.grpc)
else:
    import tritonclient.grpc

    triton(tritonclient.grpc, GRPC, http=False)
    triton_stream(tritonclient.grpc)
