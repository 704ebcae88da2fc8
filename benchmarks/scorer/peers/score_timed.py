"""The same regression, keeping the CPU time of ``run``: what the process spends beyond it is the server's own."""

import json
import time

import score
from score import init  # noqa: F401

calls = spent = 0


def run(data):
    global calls, spent
    if data == "{}":
        return [calls, spent / 1000]
    begun = time.thread_time_ns()
    result = score.predict(json.loads(data)["data"])
    spent += time.thread_time_ns() - begun
    calls += 1
    return result
