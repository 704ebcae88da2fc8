"""MLServer: a custom runtime in the server's own process (``parallel_workers=0``, its fastest on one core)."""

import asyncio
import sys

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

import score


class Regression(MLModel):
    async def load(self) -> bool:
        score.init()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("predict", score.model.predict(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    port, spare = int(sys.argv[1]), int(sys.argv[2])
    settings = Settings(
        host="127.0.0.1", http_port=port, grpc_port=spare, metrics_endpoint=None, parallel_workers=0, debug=False
    )
    asyncio.run(MLServer(settings).start([ModelSettings(name="model", implementation=Regression)]))
