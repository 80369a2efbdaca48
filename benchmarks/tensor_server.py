"""A server of the chassis with one tensor model and nothing else."""

import argparse
from pathlib import Path
from typing import ClassVar

import numpy as np
import uvloop

from benchmarks.engine import BATCH, WIDTH
from servekit.models.backend import TensorBackend, TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.logs import configure_logging
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec, run
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository


class Settings(ProcessSettings):
    """Settings of the process."""

    process: ClassVar[str] = "bench"


def emulated(batch_seconds: float) -> FakeBackend:
    """An emulated accelerator: a batch takes the same time whatever its size, and no CPU."""
    spec = (-1, WIDTH)
    rows, out = TensorSpec("h0", np.dtype(np.float32), spec), TensorSpec("y", np.dtype(np.float32), (-1, 8))
    return FakeBackend([rows], [out], latency_seconds=batch_seconds)


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--model", type=Path, help="an ONNX file; an emulated accelerator without it")
    parser.add_argument("--batch-seconds", type=float, default=0.0, help="how long the emulated accelerator takes")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--queue", type=int, default=1024)
    options = parser.parse_args()
    settings = Settings(port=options.port, log_level="WARNING")
    configure_logging(settings)
    backend: TensorBackend = OnnxBackend(options.model) if options.model else emulated(options.batch_seconds)
    model_spec = ModelSpec(
        id="rows", task="embed", services=("retrieval",), runtime="onnx", title="", licence="Apache-2.0", memory_mb=1
    )

    async def build(_: Settings, telemetry: Telemetry) -> ServiceSpec:
        scheduler = TensorScheduler(
            model_spec, [backend], telemetry, max_batch_rows=options.batch, max_queue_rows=options.queue
        )
        return ServiceSpec(
            servicer=None,
            services=[],  # only the Open Inference Protocol
            models=ModelRepository([LoadedModel(scheduler)]),
        )

    uvloop.run(run(settings, build))


if __name__ == "__main__":
    main()
