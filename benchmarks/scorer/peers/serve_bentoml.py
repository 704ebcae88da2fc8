"""BentoML: a service with one worker (started by ``bentoml serve serve_bentoml:Regression``)."""

import bentoml

import score


@bentoml.service(workers=1)
class Regression:
    def __init__(self) -> None:
        score.init()

    @bentoml.api(route="/predict")
    def predict(self, data: list[list[float]]) -> list[float]:
        return score.predict(data)
