"""The same regression as a script's native path: arrays in, arrays out, merged by the server."""

import score
from score import init  # noqa: F401


def infer(inputs):
    return {"predict": score.model.predict(inputs["x"])}
