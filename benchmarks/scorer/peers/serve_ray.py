"""Ray Serve: one replica behind one proxy, Ray told of one core."""

import sys
import threading

import ray
from ray import serve

import score


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Regression:
    def __init__(self) -> None:
        score.init()

    async def __call__(self, request):
        return score.predict((await request.json())["data"])


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Regression.bind(), route_prefix="/predict")
    threading.Event().wait()
