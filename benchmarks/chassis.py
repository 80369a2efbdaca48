"""Throughput of the chassis: rows per second over gRPC, relative to the engine in a loop and to other servers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks import echo_server, engine, litserve_server
from benchmarks.report import BenchmarkResult, Progress, Verdict, percentile
from benchmarks.running import ServerProcess, serving
from servekit.models.backends.onnx import OnnxBackend

INFER = "/inference.GRPCInferenceService/ModelInfer"
CALLERS = 64
SECONDS = 4.0
WARM_SECONDS = 1.0
ROUNDS = 3


def infer_message(rows: int) -> bytes:
    """A serialised ModelInferRequest of `rows` rows."""
    request = service_pb2.ModelInferRequest(model_name="rows")
    request.inputs.add(name="h0", datatype="FP32", shape=[rows, engine.WIDTH])
    request.raw_input_contents.append(_rows(rows))
    return bytes(request.SerializeToString())


def call(server: ServerProcess, path: str, message: Path, *options: str) -> dict[str, Any]:
    """Call a server from another process; return the fields of its `CallOutcome` and `server_cpu_seconds`."""
    command = (sys.executable, "-m", "benchmarks.callers", server.address, path, str(message), *options)
    before = server.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout), "server_cpu_seconds": server.cpu_seconds() - before}


def measure(progress: Progress) -> BenchmarkResult:
    """Measure every server in turn for some rounds, and take the medians."""
    rounds: list[dict[str, dict[str, float]]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "rows.onnx"
        progress("building a network of 300 us a row")
        engine.save(model)
        messages = {"one": infer_message(1), "eight": infer_message(8), "raw": _rows(1)}
        for key, message in messages.items():
            (folder / key).write_bytes(message)
        one, eight, raw = (folder / key for key in messages)
        with (
            serving("benchmarks.tensor_server", "--model", model) as ours,
            serving("benchmarks.echo_server") as echo,
            serving("benchmarks.litserve_server", model) as litserve,
        ):
            for number in range(ROUNDS):
                progress(f"round {number + 1} of {ROUNDS}")
                found = {"raw engine loop": {"rows/s": engine.rows_per_second(OnnxBackend(model), 2.0)}}
                found["servekit"] = _figures(call(ours, INFER, one, *_closed()), 1)
                found["servekit, 8 rows a call"] = _figures(call(ours, INFER, eight, *_closed()), 8)
                found["LitServe 0.2.19"] = _figures(call(litserve, litserve_server.PATH, raw, "--http1", *_closed()), 1)
                found["bare gRPC echo"] = _figures(call(echo, echo_server.PATH, one, *_closed()), 1)
                rounds.append(found)
    rows = {name: _medians([found[name] for found in rounds]) for name in rounds[0]}
    for row in rows.values():
        row["of raw"] = row["rows/s"] / rows["raw engine loop"]["rows/s"]
    return BenchmarkResult(
        f"Chassis: a network of 300 us a row, {CALLERS} callers",
        rows,
        [
            Verdict("chassis over the raw engine, a row a call", rows["servekit"]["of raw"], "at least", 0.75),
            Verdict(
                "chassis over LitServe", rows["servekit"]["rows/s"] / rows["LitServe 0.2.19"]["rows/s"], "at least", 1.0
            ),
        ],
    )


def _rows(rows: int) -> bytes:
    return np.random.default_rng(0).standard_normal((rows, engine.WIDTH), np.float32).tobytes()


def _closed() -> tuple[str, ...]:
    return ("--callers", str(CALLERS), "--warm", str(WARM_SECONDS), "--seconds", str(SECONDS))


def _figures(outcome: Mapping[str, Any], rows_a_call: int) -> dict[str, float]:
    calls = outcome["good"] * (SECONDS + WARM_SECONDS) / SECONDS  # the server's CPU time includes the warm-up
    return {
        "rows/s": outcome["good"] * rows_a_call / outcome["seconds"],
        "p50 ms": percentile(outcome["latencies"], 0.5) * 1e3,
        "p95 ms": percentile(outcome["latencies"], 0.95) * 1e3,
        "server us/call": outcome["server_cpu_seconds"] / calls * 1e6,
        "caller us/call": outcome["cpu_seconds"] / outcome["good"] * 1e6,
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {column: median(row[column] for row in rows) for column in rows[0]}
