"""Goodput under overload: responses within the deadline, at the peak throughput and above it."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import engine
from benchmarks.chassis import INFER, call, infer_message
from benchmarks.report import BenchmarkResult, Progress, Verdict, percentile
from benchmarks.running import ServerProcess, serving

DEADLINE = 0.5
LOADS = (1.0, 2.0, 5.0)
BATCH_SECONDS = 0.16  # of the emulated accelerator, whatever the size of the batch


def measure(progress: Progress) -> BenchmarkResult:
    """Measure an emulated accelerator, which takes no CPU, and an engine that shares the cores with the server."""
    rows: dict[str, dict[str, float]] = {}
    verdicts = []
    with TemporaryDirectory() as name:
        message, model = Path(name) / "one", Path(name) / "rows.onnx"
        message.write_bytes(infer_message(1))
        engine.save(model)
        with serving("benchmarks.tensor_server", "--batch-seconds", str(BATCH_SECONDS)) as server:
            found = _loads(server, message, "accelerator", progress)
            verdicts = [
                Verdict(f"goodput at {load:g}x over the peak, {name}", row["of peak"], "at least", 0.95)
                for (name, row), load in zip(found.items(), (0, *LOADS), strict=True)
                if load > 1
            ]
            rows |= found
        with serving("benchmarks.tensor_server", "--model", model) as server:
            rows |= _loads(server, message, "shared cores", progress)
    return BenchmarkResult(f"Goodput within {DEADLINE:g} s", rows, verdicts)


def _loads(server: ServerProcess, message: Path, what: str, progress: Progress) -> dict[str, dict[str, float]]:
    progress(f"{what}: peak")
    peak = call(server, INFER, message, "--callers", "96", "--seconds", "4", "--warm", "1.5")
    best = peak["good"] / peak["seconds"]
    rows = {f"{what}, peak": {"offered/s": best, "good/s": best, "of peak": 1.0}}
    for load in LOADS:
        progress(f"{what}: {load:g} times the peak")
        options = ("--rate", str(best * load), "--deadline", str(DEADLINE), "--seconds", "5", "--warm", "2")
        outcome = call(server, INFER, message, *options)
        rows[f"{what}, {load:g}x"] = {
            "offered/s": best * load,
            "good/s": outcome["good"] / outcome["seconds"],
            "of peak": outcome["good"] / outcome["seconds"] / best,
            "p95 ms": percentile(outcome["latencies"], 0.95) * 1e3,
        }
    return rows
