"""Vectors as they travel, checked where they enter."""

import math

import numpy as np
from numpy.typing import NDArray
from polyphony.type.v1.embedding_pb2 import Embedding

from servekit.rpc.errors import InvalidArgument
from services.retrieval.stores.postgres import Collection, Metric

_DTYPES: dict[int, np.dtype[np.floating]] = {
    Embedding.DTYPE_FLOAT32: np.dtype("<f4"),
    Embedding.DTYPE_FLOAT16: np.dtype("<f2"),
}

# Beyond these lengths a square does not fit into the binary32 in which distances are computed.
SHORTEST, LONGEST = 1e-18, 1e18


def pack(vectors: NDArray[np.float32], space: str) -> Embedding:
    """An array of any shape as a message."""
    data = np.ascontiguousarray(vectors, "<f4").tobytes()
    return Embedding(data=data, dtype=Embedding.DTYPE_FLOAT32, shape=vectors.shape, space=space)


def unpack(embedding: Embedding, collection: Collection, field: str) -> NDArray[np.float32]:
    """One vector of a collection's space, float32 `[dimensions]`.

    Raises:
        InvalidArgument: Its dtype, shape, size or space is wrong, a number is not finite, or its
            length cannot be compared by the collection's metric.
    """
    if embedding.space and embedding.space != collection.space:
        raise InvalidArgument(
            f"the collection's space is {collection.space!r}, not {embedding.space!r}", field=f"{field}.space"
        )
    if embedding.dtype not in _DTYPES:
        raise InvalidArgument("a vector is float32 or float16", field=f"{field}.dtype")
    dtype = _DTYPES[embedding.dtype]
    if list(embedding.shape) != [collection.dimensions]:
        raise InvalidArgument(
            f"the collection's vectors are of shape [{collection.dimensions}], not {list(embedding.shape)}",
            field=f"{field}.shape",
        )
    if len(embedding.data) != collection.dimensions * dtype.itemsize:
        raise InvalidArgument(
            f"{len(embedding.data)} bytes are not {collection.dimensions} numbers of {dtype.itemsize} bytes",
            field=f"{field}.data",
        )
    vector: NDArray[np.float32] = np.frombuffer(embedding.data, dtype).astype(np.float32)
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length):
        raise InvalidArgument("a vector's numbers are finite", field=field)
    if length > LONGEST:
        raise InvalidArgument(f"the vector's length exceeds {LONGEST:g}", field=field)
    if collection.metric is Metric.COSINE and length < SHORTEST:
        raise InvalidArgument("a zero vector has no direction, which cosine compares", field=field)
    return vector
