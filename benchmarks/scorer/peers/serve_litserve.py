"""LitServe: one API server, one worker."""

import sys

import litserve

import score


class Regression(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002
        score.init()

    def decode_request(self, request):
        return request["data"]

    def predict(self, x):
        return score.predict(x)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Regression(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", pretty_logs=False)
