"""The array port: named arrays in, named arrays out. Every tensor model runs on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
Provider = Literal["cpu", "cuda", "tensorrt"]  # where onnxruntime runs a network


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a tensor model.

    Attributes:
        name: Its name.
        dtype: The numpy type of an element.
        shape: The extent of each axis, -1 where it varies. The first axis is the batch.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class TensorBackend(Protocol):
    """An engine that holds one loaded network."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What `infer` takes."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What `infer` gives."""

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network once, on the calling thread.

        Raises:
            OutOfMemory: There was no memory for a batch of this size.
            EngineCrashed: The engine has died and will not come back by itself.
        """

    def close(self) -> None:
        """Give its memory back."""
