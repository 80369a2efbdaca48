"""The port of tensor engines: named arrays in, named arrays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
Provider = Literal["cpu", "cuda", "tensorrt"]  # the execution provider of ONNX Runtime


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a tensor model.

    Attributes:
        name: The tensor's name.
        dtype: The NumPy type of an element.
        shape: The size of each axis, -1 where it varies. The first axis is the batch.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class TensorBackend(Protocol):
    """An engine that holds one loaded network."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """The inputs of `infer`."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """The outputs of `infer`."""

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network once, on the calling thread.

        Raises:
            OutOfMemory: There was no memory for a batch of this size.
            EngineCrashed: The engine has crashed and does not recover by itself.
        """

    def close(self) -> None:
        """Free the memory of the network."""
