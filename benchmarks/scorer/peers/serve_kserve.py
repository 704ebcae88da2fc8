"""KServe: a custom predictor, gRPC off."""

import sys

from kserve import Model, ModelServer

import score


class Regression(Model):
    def load(self) -> bool:
        score.init()
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
        return {"predictions": score.predict(payload["instances"])}


if __name__ == "__main__":
    model = Regression("model")
    model.load()
    ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False, enable_latency_logging=False).start([model])
