"""Ask the deployed model over gRPC, with NVIDIA's public client: ``pip install 'tritonclient[grpc]'``.

Usage: call_grpc.py HOST:PORT ENDPOINT KEY [DEPLOYMENT]
"""

import json
import queue
import sys
from pathlib import Path

import numpy as np
from tritonclient import grpc

url, endpoint, key, *pinned = sys.argv[1:]
metadata = {"x-penstock-endpoint": endpoint, "authorization": f"Bearer {key}"}
if pinned:
    metadata["azureml-model-deployment"] = pinned[0]

rows = np.array(json.loads(Path(__file__).with_name("sample-request.json").read_text())["data"])
tensor = grpc.InferInput("data", rows.shape, "FP64")
tensor.set_data_from_numpy(rows)

client = grpc.InferenceServerClient(url)
try:
    answer = client.infer(endpoint, [tensor], headers=metadata, client_timeout=10)
except grpc.InferenceServerException as error:
    sys.exit(f"{error.status()}: {error.message()}")
print(answer.get_response().model_version, answer.as_numpy("output-0").round(1).tolist())

# One row after the other on one stream; each answer comes as soon as it is there.
answers = queue.Queue()
client.start_stream(lambda result, error: answers.put(error or result), headers=metadata)
for row in rows:
    tensor = grpc.InferInput("data", (1, *row.shape), "FP64")
    tensor.set_data_from_numpy(row[np.newaxis])
    client.async_stream_infer(endpoint, [tensor])
for _ in rows:
    print(answers.get(timeout=10).as_numpy("output-0").round(1).tolist())
client.stop_stream()
