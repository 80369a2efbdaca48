"""Reads the weights of a torch checkpoint without torch, and without running code from the file.

The format is that before torch 1.6: five pickles (magic number, version, system, objects, keys of the storages), then
each storage as its length and its raw values. A pickle may name any function to call; only the three names that a state
of float tensors needs are allowed, and they are mapped to safe replacements.
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
    """The location of the values of a tensor: its storage, offset, shape and strides."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Resolves the names in `_ALLOWED`, and rejects all others before anything is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the file must have only float tensors, got {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> str:
        """The key of a storage; `pid` has its type, key, device and length."""
        return str(pid[2])


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): float,
}


def read_checkpoint(path: Path, entry: str) -> Mapping[str, NDArray[np.float32]]:
    """Read the tensors of one entry of a checkpoint, such as `model_state`, by name.

    Raises:
        ValueError: The file has another format, or anything but float tensors.
    """
    with path.open("rb") as file:
        try:
            magic, version, _ = (_Unpickler(file).load() for _ in range(3))
            if (magic, version) != (_MAGIC, _VERSION):
                raise ValueError(f"{path.name} must have torch's format {_VERSION}")
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
        raise ValueError(f"tensors must be complete and contiguous, got one of shape {list(tensor.shape)}")
    return numbers.reshape(tensor.shape)
