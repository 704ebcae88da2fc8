"""Run by test_grpc.py in an environment of its own: NVIDIA's public client against an endpoint.

Usage: triton.py HOST:PORT ENDPOINT KEY [CA FILE]. Prints what it got, as JSON; fails by raising.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

URL, ENDPOINT, KEY, *AUTHORITY = sys.argv[1:]
WAYS = {"ssl": True, "root_certificates": AUTHORITY[0]} if AUTHORITY else {}


def metadata(**changes: str) -> dict[str, str]:
    """What every call brings."""
    return {"x-penstock-endpoint": ENDPOINT, "authorization": f"Bearer {KEY}", **changes}


def refused(**changes: str) -> str:
    """The status of a call that must fail."""
    try:
        client.infer(ENDPOINT, [tensor], headers=metadata(**changes))
    except triton.InferenceServerException as error:
        return str(error.status())
    return "answered"


client = triton.InferenceServerClient(URL, **WAYS)
tensor = triton.InferInput("x", (3,), "INT8")
tensor.set_data_from_numpy(np.array([1, 2, 3], "int8"))
result = client.infer(ENDPOINT, [tensor], headers=metadata(), client_timeout=20)
pinned = client.infer(ENDPOINT, [tensor], headers=metadata(**{"azureml-model-deployment": "green"}))

answers: queue.Queue = queue.Queue()
client.start_stream(lambda result, error: answers.put((result, error)), headers=metadata())
for number in range(3):
    client.async_stream_infer(ENDPOINT, [tensor], request_id=str(number))
streamed = [answers.get(timeout=20) for _ in range(3)]
client.stop_stream()

print(  # noqa: T201 - it is a script
    json.dumps(
        {
            "ready": client.is_model_ready(ENDPOINT, headers=metadata()),
            "live": client.is_server_live(headers=metadata()),
            "x": result.as_numpy("x").tolist(),
            "by": result.get_response().model_version,
            "pinned": pinned.get_response().model_version,
            "streamed": [result.get_response().id for result, _ in streamed],
            "wrong key": refused(authorization="Bearer wrong"),
            "unknown endpoint": refused(**{"x-penstock-endpoint": "nowhere"}),
            "unknown deployment": refused(**{"azureml-model-deployment": "nobody"}),
        }
    )
)
