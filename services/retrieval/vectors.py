"""Vectors of the contract as arrays, checked on the way in."""

import math

import numpy as np
from numpy.typing import NDArray
from polyphony.type.v1.embedding_pb2 import Embedding

from servekit.echo import cut
from servekit.errors import InvalidArgument
from services.retrieval.stores import Collection, Metric

_DTYPES: dict[int, np.dtype[np.floating]] = {
    Embedding.DTYPE_FLOAT32: np.dtype("<f4"),
    Embedding.DTYPE_FLOAT16: np.dtype("<f2"),
}

# Beyond these L2 norms a square overflows or vanishes in the float32 in which pgvector computes distances.
MIN_NORM, MAX_NORM = 1e-18, 1e18


def pack(vectors: NDArray[np.float32], space: str) -> Embedding:
    """An array of any shape as a message."""
    data = np.ascontiguousarray(vectors, "<f4").tobytes()
    return Embedding(data=data, dtype=Embedding.DTYPE_FLOAT32, shape=vectors.shape, space=space)


def unpack(embedding: Embedding, collection: Collection, field: str) -> NDArray[np.float32]:
    """One vector of a collection's space, float32 `[dimensions]`.

    Raises:
        InvalidArgument: The dtype, shape, size or space is wrong, a number is not finite, or the collection's
            metric is not defined for the vector's norm.
    """
    if embedding.space and embedding.space != collection.space:
        raise InvalidArgument(
            f"space must be the collection's, {collection.space!r}, got {cut(embedding.space)!r}",
            field=f"{field}.space",
        )
    if embedding.dtype not in _DTYPES:
        raise InvalidArgument(
            f"dtype must be DTYPE_FLOAT32 or DTYPE_FLOAT16, got {embedding.dtype}", field=f"{field}.dtype"
        )
    dtype = _DTYPES[embedding.dtype]
    if list(embedding.shape) != [collection.dimensions]:
        raise InvalidArgument(
            f"shape must be [{collection.dimensions}], got {list(embedding.shape)}", field=f"{field}.shape"
        )
    size = collection.dimensions * dtype.itemsize
    if len(embedding.data) != size:
        raise InvalidArgument(f"data must have {size} bytes, got {len(embedding.data)}", field=f"{field}.data")
    vector: NDArray[np.float32] = np.frombuffer(embedding.data, dtype).astype(np.float32)
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(norm):
        raise InvalidArgument("every number of a vector must be finite", field=field)
    if norm > MAX_NORM:
        raise InvalidArgument(f"the norm of a vector must be at most {MAX_NORM:g}, got {norm:g}", field=field)
    if collection.metric is Metric.COSINE and norm < MIN_NORM:
        raise InvalidArgument(f"cosine needs a vector's norm to be at least {MIN_NORM:g}, got {norm:g}", field=field)
    return vector
