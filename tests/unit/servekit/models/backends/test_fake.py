import time

import numpy as np
import pytest

from servekit.errors import EngineCrashed, OutOfMemory
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend

INPUTS = [TensorSpec("a", np.dtype(np.int64), (-1, -1)), TensorSpec("b", np.dtype(np.float32), (-1, 2))]
OUTPUTS = [TensorSpec("y", np.dtype(np.float32), (-1, 4)), TensorSpec("n", np.dtype(np.int32), (-1,))]


def arrays(rows, seed=0):
    random = np.random.default_rng(seed)
    return {"a": random.integers(0, 9, (rows, 5)), "b": random.random((rows, 2), np.float32)}


def test_a_row_is_answered_alike_in_any_batch():
    backend = FakeBackend(INPUTS, OUTPUTS)
    together = backend.infer(arrays(6))
    assert {name: (y.shape, y.dtype) for name, y in together.items()} == {
        "y": ((6, 4), np.dtype(np.float32)),
        "n": ((6,), np.dtype(np.int32)),
    }
    for row in range(6):
        alone = backend.infer({name: array[row : row + 1] for name, array in arrays(6).items()})
        np.testing.assert_array_equal(alone["y"][0], together["y"][row])
    assert len(np.unique(together["y"], axis=0)) == 6


@pytest.mark.serial
def test_a_fake_has_the_configured_latency():
    backend = FakeBackend(INPUTS, OUTPUTS, latency_seconds=0.02, latency_per_row_seconds=0.01)
    began = time.monotonic()
    backend.infer(arrays(4))
    assert 0.06 <= time.monotonic() - began < 0.5


def test_a_fake_fails_as_configured():
    backend = FakeBackend(INPUTS, OUTPUTS, max_rows=4)
    assert len(backend.infer(arrays(4))["y"]) == 4
    with pytest.raises(OutOfMemory):
        backend.infer(arrays(5))
    backend.failure = EngineCrashed("gone")
    with pytest.raises(EngineCrashed):
        backend.infer(arrays(1))
