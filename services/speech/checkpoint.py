"""The weights of a file of torch's, read without torch and without running anything that the file names.

The format is the one before torch 1.6: five pickles (a number, a version, the machine, the objects, the keys of
the storages), then each storage as its count and its raw numbers. A pickle may name any function to be called; here
only the three names that a state of float tensors is made of mean anything, and they mean classes of ours.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor's numbers are: which storage, from which of its numbers on, and in what shape."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuilt(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Knows the names in `_ADMITTED`, and refuses all others before anything is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which is no part of float tensors")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> str:
        """A storage: its type, key, device, count and, of a view, the whole."""
        return str(pid[2])


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch", "FloatStorage"): float,
}


def read_checkpoint(path: Path, entry: str) -> Mapping[str, NDArray[np.float32]]:
    """The tensors of one entry of a checkpoint, such as `model_state`, by their names.

    Raises:
        ValueError: The file is of another format, or names anything but float tensors.
    """
    with path.open("rb") as file:
        try:
            magic, version, _ = (_Unpickler(file).load() for _ in range(3))
            if (magic, version) != (_MAGIC, _VERSION):
                raise ValueError(f"{path.name} is not of torch's format {_VERSION}")
            content = _Unpickler(file).load()
            storages = {key: _storage(file) for key in _Unpickler(file).load()}
        except (pickle.UnpicklingError, EOFError, TypeError) as error:
            raise ValueError(f"{path.name} cannot be read: {error}") from error
    return {name: _array(tensor, storages) for name, tensor in content[entry].items()}


def _storage(file: BinaryIO) -> NDArray[np.float32]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(4 * count), "<f4")


def _array(tensor: _Tensor, storages: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    count = prod(tensor.shape)
    numbers = storages[tensor.storage][tensor.offset : tensor.offset + count]
    dense = tuple(prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
    if len(numbers) != count or tensor.strides != dense:
        raise ValueError(f"a tensor of {list(tensor.shape)} is not stored whole and in order")
    return numbers.reshape(tensor.shape)
