"""Reading torch's files: their tensors and nothing else."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from services.speech.checkpoint import _MAGIC, _VERSION, read_checkpoint


class _Named:
    """Pickles as a call of any function by its module and name, as torch's own classes do."""

    def __init__(self, function, *arguments):
        self._function, self._arguments = function, arguments

    def __reduce__(self):
        return self._function, self._arguments


class _Pickler(pickle._Pickler):
    """Writes names of modules that are not installed, and storages by their keys."""

    def save_global(self, obj, name=None):
        if isinstance(obj, _Torch):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, _Storage) else None


class _Torch:
    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError

    def __reduce__(self):
        return f"{self.module}.{self.name}"


class _Storage:
    def __init__(self, key, count):
        self.pid = ("storage", _Torch("torch", "FloatStorage"), key, "cpu", count, None)


def _tensor(key, count, offset, shape, strides):
    rebuild = _Torch("torch._utils", "_rebuild_tensor_v2")
    return _Named(rebuild, _Storage(key, count), offset, shape, strides, False, OrderedDict())


def _write(path, content, storages=(), magic=_MAGIC):
    with path.open("wb") as file:
        for part in (magic, _VERSION, {}, content, [key for key, _ in storages]):
            _Pickler(file, 2).dump(part)
        for _, numbers in storages:
            file.write(len(numbers).to_bytes(8, "little") + numbers.astype("<f4").tobytes())
    return path


def test_gives_the_tensors_of_an_entry(tmp_path):
    numbers = np.arange(8, dtype=np.float32)
    state = OrderedDict(whole=_tensor("k", 8, 0, (2, 4), (4, 1)), part=_tensor("k", 8, 5, (3,), (1,)))
    path = _write(tmp_path / "a.pt", {"model_state": state, "step": 3}, [("k", numbers)])
    read = read_checkpoint(path, "model_state")
    assert read["whole"].tolist() == numbers.reshape(2, 4).tolist()
    assert read["part"].tolist() == [5, 6, 7]
    assert not read["whole"].flags.writeable


def test_runs_nothing_that_a_file_names(tmp_path):
    mark = tmp_path / "ran"
    path = _write(tmp_path / "a.pt", {"model_state": _Named(os.mkdir, str(mark))})
    with pytest.raises(ValueError, match="mkdir"):
        read_checkpoint(path, "model_state")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (4, 2), (1, 4)), (6, (3,), (1,)), (0, (1 << 40,), (1,))],
    ids=["transposed", "past the end", "huge"],
)
def test_refuses_tensors_that_are_not_there(tmp_path, offset, shape, strides):
    state = {"a": _tensor("k", 8, offset, shape, strides)}
    path = _write(tmp_path / "a.pt", {"model_state": state}, [("k", np.zeros(8))])
    with pytest.raises(ValueError, match="contiguous"):
        read_checkpoint(path, "model_state")


def test_refuses_other_formats(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04 the format of today")
    with pytest.raises(ValueError, match="cannot be read"):
        read_checkpoint(tmp_path / "a.pt", "model_state")
    with pytest.raises(ValueError, match="format 1001"):
        read_checkpoint(_write(tmp_path / "b.pt", {}, magic=7), "model_state")
