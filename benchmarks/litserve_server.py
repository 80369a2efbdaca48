"""The network of the chassis benchmark behind LitServe; requests and responses are raw float32."""

import sys
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Depends, Request, Response
from numpy.typing import NDArray

from benchmarks.engine import BATCH, WIDTH
from servekit.models.backends.onnx import OnnxBackend

PATH = "/predict"


async def _body(request: Request) -> bytes:
    return await request.body()


class Rows(litserve.LitAPI):  # type: ignore[misc]
    """The network, in batches of at most `BATCH` rows that LitServe gathers."""

    def __init__(self, path: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=0.005)
        self._path = path

    def setup(self, device: str) -> None:  # noqa: ARG002
        from pathlib import Path

        self._backend = OnnxBackend(Path(self._path))

    def decode_request(self, request: Annotated[bytes, Depends(_body)]) -> NDArray[np.float32]:
        return np.frombuffer(request, np.float32).reshape(-1, WIDTH)

    def batch(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(inputs)

    def predict(self, x: NDArray[np.float32]) -> Any:
        return next(iter(self._backend.infer({self._backend.inputs[0].name: x}).values()))

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(Rows(sys.argv[2]), accelerator="cpu", devices=1, fast_queue=True)
    server.run("127.0.0.1", int(sys.argv[1]), log_level="error", generate_client_file=False)
