"""The same regression with a batched ``run``: many bodies in, as many answers out."""

import json

from penstock_scorer import batched

import score
from score import init  # noqa: F401


@batched(max_size=64, max_delay_ms=2)
def run(inputs):
    found = [json.loads(text)["data"] for text in inputs]
    results = iter(score.predict([row for data in found for row in data]))
    return [[next(results) for _ in data] for data in found]
