"""Tensor models: rows of many callers run together, and each caller gets its own."""

import asyncio

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import InvalidArgument
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.tensors import TensorModel, TensorScheduler

SPEC = ModelSpec(id="m", task="embed", services=("retrieval",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1)
F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
IDS, MASK = TensorSpec("ids", I64, (-1, -1)), TensorSpec("mask", I64, (-1, -1))
OUT = TensorSpec("out", F32, (-1, 4))


class Counting(FakeBackend):
    """Remembers the rows of each run."""

    def __init__(self, **more):
        super().__init__([IDS, MASK], [OUT], **more)
        self.rows = []

    def infer(self, arrays):
        self.rows.append(len(arrays["ids"]))
        return super().infer(arrays)


def request(rows, width, seed=0):
    ids = np.random.default_rng(seed).integers(0, 99, (rows, width))
    return {"ids": ids, "mask": np.ones_like(ids)}


def test_equal_widths_share_a_run_and_each_gets_its_own_rows():
    backend = Counting()
    model = TensorModel(backend)
    items = [request(2, 3, 1), request(1, 5, 2), request(3, 3, 3), request(1, 5, 4)]
    results = model.run(items, CancellationToken())
    assert sorted(backend.rows) == [2, 5]
    for item, result in zip(items, results, strict=True):
        np.testing.assert_array_equal(result["out"], backend.infer(item)["out"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: r.pop("mask"), "inputs.mask"),
        (lambda r: r.update(extra=r["ids"]), "inputs.extra"),
        (lambda r: r.update(ids=r["ids"].astype(np.int32)), "inputs.ids"),
        (lambda r: r.update(ids=r["ids"][0]), "inputs.ids"),
        (lambda r: r.update(mask=r["mask"][:1]), "inputs.ids"),
        (lambda r: r.update(ids=r["ids"][:0], mask=r["mask"][:0]), "inputs.ids"),
        (lambda r: r.update(ids=np.array(1)), "inputs.ids"),
    ],
)
def test_arrays_that_do_not_fit_are_rejected_by_the_name_of_the_input(change, field):
    arrays = request(2, 3)
    change(arrays)
    with pytest.raises(InvalidArgument) as caught:
        TensorModel(Counting()).prepare(arrays)
    assert caught.value.field == field


async def test_a_scheduler_batches_callers_and_a_bad_request_fails_alone():
    backend = Counting(latency_seconds=0.02)
    scheduler = TensorScheduler(SPEC, [backend], Telemetry(ProcessSettings()), max_batch_rows=8)
    await scheduler.start()
    requests = [request(1, 4, seed) for seed in range(20)]
    bad = {"ids": requests[0]["ids"]}
    outcomes = await asyncio.gather(*(scheduler.infer(r) for r in (*requests, bad)), return_exceptions=True)
    await scheduler.close()
    assert isinstance(outcomes.pop(), InvalidArgument)
    for sent, got in zip(requests, outcomes, strict=True):
        np.testing.assert_array_equal(got["out"], FakeBackend.infer(backend, sent)["out"])
    assert max(backend.rows[1:]) == 8


def test_warming_runs_the_network_once_with_its_dynamic_axes_fixed():
    backend = Counting()
    TensorModel(backend).warm()
    assert backend.rows == [1]
