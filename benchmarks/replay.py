"""Accuracy of the simulation: the same calls to a real service and to a simulated pod."""

import asyncio
import io
import time

import grpc
import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub

from benchmarks.curves import counters
from benchmarks.report import BenchmarkResult, Progress
from benchmarks.running import ServiceProcess, service_process
from capacity.curve import Curve
from capacity.simulation.cluster import Environment, replay
from capacity.simulation.hpa import Behavior
from capacity.simulation.scaling import Scaler
from capacity.simulation.traces import LoadTrace

LATENCY = 0.2  # of the fake text recognizer, which sleeps
ENGINES = 2
LOADS = (0.5, 0.8, 1.2, 2.0)
SECONDS = 30
DEADLINE = 2.0
SEED = 7


def measure(progress: Progress) -> BenchmarkResult:
    """Measure a service of fakes at four loads, in an open loop."""
    rows: dict[str, dict[str, float]] = {}
    options = f'{{"latency_seconds": {LATENCY}}}'
    with service_process("vision", "fake", THREADS=str(ENGINES), MODEL_OPTIONS=options) as service:
        for load in LOADS:
            progress(f"{load:g} of what it can take")
            trace = LoadTrace("load", np.full(SECONDS, load * ENGINES / LATENCY))
            latencies, engine_seconds = asyncio.run(_call(service, trace.arrivals(SEED)))
            pod = Scaler("fixed", 1.0, Behavior(1, 1))
            outcome = replay(trace, _curve(engine_seconds), pod, SEED, Environment(gateways=1))
            for name, found in (("measured", latencies), ("simulated", outcome.latencies)):
                rows[f"{load:g}x {name}"] = {
                    "calls": len(found),
                    "answered": float(np.isfinite(found).mean()),
                    "p50 s": float(np.nanquantile(found, 0.5)),
                    "p95 s": float(np.nanquantile(found, 0.95)),
                }
    return BenchmarkResult(f"One pod, {ENGINES} engines of {LATENCY:g} s, a deadline of {DEADLINE:g} s", rows)


async def _call(service: ServiceProcess, arrivals: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the latency of each call, NaN where it failed, and the mean engine seconds of a call."""
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 64, 3), dtype=np.uint8)).save(picture, "PNG")
    request = ReadTextRequest(image=Media(mime_type="image/png", inline=picture.getvalue()))
    latencies = np.full(len(arrivals), np.nan)
    before = _engine(service)
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = VisionServiceStub(channel)
        began = time.perf_counter() + 0.5

        async def one(number: int, due: float) -> None:
            await asyncio.sleep(began + due - time.perf_counter())
            try:
                await stub.ReadText(request, timeout=DEADLINE)
            except grpc.aio.AioRpcError:
                return
            latencies[number] = time.perf_counter() - began - due

        await asyncio.gather(*(one(number, due) for number, due in enumerate(arrivals.tolist())))
    await asyncio.sleep(LATENCY)  # until cancelled runs have ended
    after = _engine(service)
    return latencies, (after[0] - before[0]) / (after[1] - before[1])


def _engine(service: ServiceProcess) -> tuple[float, float]:
    found = counters(httpx.get(service.metrics).raise_for_status().text, "fake-reader")
    return found["polyphony_inference_duration_seconds_sum"], found["polyphony_inference_duration_seconds_count"]


def _curve(engine_seconds: float) -> Curve:
    return Curve(
        service="vision",
        call="an image for the fake text recognizer",
        kind="slots",
        engines=ENGINES,
        seconds=((1, engine_seconds), (ENGINES, engine_seconds)),
        spread=0,
        deadline_seconds=DEADLINE,
        queue=1e6,  # never full: requests are rejected by their deadline
        schedule_seconds=0,
        weights_seconds=0,
        load_seconds=0,
        cpu_cores=1,
        cpu_per_engine_second=0,
        cpu_per_call=0,
        source="measured: engine seconds of this run",
    )
