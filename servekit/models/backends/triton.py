"""A network on a Triton server, or on any other server of the Open Inference Protocol v2."""

from collections.abc import Iterable

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from servekit.errors import (
    DeadlineExceeded,
    EngineCrashed,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfMemory,
    Overloaded,
    ServeError,
)
from servekit.models.backend import Arrays, TensorSpec

_ERRORS: dict[str, type[ServeError]] = {
    "StatusCode.UNAVAILABLE": EngineCrashed,
    "StatusCode.DEADLINE_EXCEEDED": DeadlineExceeded,
    "StatusCode.INVALID_ARGUMENT": InvalidArgument,
    "StatusCode.NOT_FOUND": NotFound,
    "StatusCode.RESOURCE_EXHAUSTED": Overloaded,
}


class TritonBackend:
    """One model of a server.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        model: The model's name on the server.
        version: The model's version; empty for the server's choice.
        timeout_seconds: The timeout of one request.

    Raises:
        NotFound: The server has no such model.
        EngineCrashed: The server cannot be reached.
        DeadlineExceeded: The server did not answer in time.
    """

    def __init__(self, url: str, model: str, version: str = "", timeout_seconds: float = 30.0) -> None:
        self._client = InferenceServerClient(url)
        self._model, self._version, self._timeout = model, version, timeout_seconds
        try:
            metadata = self._client.get_model_metadata(model, version, client_timeout=timeout_seconds)
        except InferenceServerException as error:
            self.close()
            raise _translated(error) from error
        self.inputs = _specs(metadata.inputs)
        self.outputs = _specs(metadata.outputs)

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network once, on the server; see `TensorBackend`.

        Raises:
            InvalidArgument: An array does not fit the network.
            Overloaded: The server's own queue is full.
            DeadlineExceeded: The server did not answer in time.
        """
        sent = []
        for name, array in arrays.items():
            sent.append(InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
            sent[-1].set_data_from_numpy(np.ascontiguousarray(array))
        try:
            result = self._client.infer(self._model, sent, self._version, client_timeout=self._timeout)
        except InferenceServerException as error:
            raise _translated(error) from error
        return {spec.name: result.as_numpy(spec.name) for spec in self.outputs}

    def close(self) -> None:
        """Disconnect from the server; the model stays loaded there."""
        self._client.close()


def _specs(tensors: Iterable[service_pb2.ModelMetadataResponse.TensorMetadata]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, np.dtype(triton_to_np_dtype(t.datatype)), tuple(t.shape)) for t in tensors)


def _translated(error: InferenceServerException) -> ServeError:
    message = str(error.message())
    if "out of memory" in message.lower():
        return OutOfMemory("the Triton server has no memory for this batch")
    cls = _ERRORS.get(str(error.status()))
    return cls(message) if cls else Internal()
