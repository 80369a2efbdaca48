"""Service curves: engine seconds of a call of each kind by concurrency, and the start time of each service.

`python -m benchmarks.curves FILE` writes them as the file that `polyphony plan` and `polyphony simulate` read.
"""

import argparse
import os
import platform
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx
from openai import APIStatusError, OpenAI
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks.mixed import BenchmarkCall, mixed_calls
from benchmarks.report import BenchmarkResult, Progress, percentile
from benchmarks.running import fleet, service_process
from client.blocking import BlockingConnection
from client.errors import GatewayError
from servekit.models.catalogue import profile
from servekit.ops.settings import available_cores

CALLERS = (1, 2, 4, 8)
LEVEL_SECONDS = 6.0
SLOTS: Mapping[str, int] = {"generation": 4}  # concurrent calls of services where it is not one per thread
BACK_OFF_SECONDS = 0.5  # after a rejected call


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call.

    Attributes:
        service: The service that answers it.
        model: The model whose metrics count it.
        call: Its description.
        deadline_seconds: The deadline of its route.
        queue: The calls that may wait: the queue limit of the service divided by the cost of a call.
        tokens: The tokens that a call generates; 0 for none.
    """

    service: str
    model: str
    call: str
    deadline_seconds: float
    queue: float
    tokens: int = 0


KINDS: Mapping[str, tuple[str, Kind]] = {
    "ocr": ("OCR", Kind("vision", "pp-ocrv6-small", "a third of a photographed page, 50 KB", 30, 800)),
    "transcribe": ("transcription", Kind("speech", "whisper-base", "a sentence of 3 s", 600, 300)),
    "chat": (
        "chat",
        Kind("generation", "qwen2.5-coder-0.5b-instruct", "a question of 30 tokens, 32 answered", 120, 200, 32),
    ),
    "embed": ("embeddings", Kind("retrieval", "all-minilm-l6-v2", "32 sentences", 30, 1600)),
}


@dataclass(frozen=True, slots=True)
class Level:
    """The calls of one number of concurrent callers."""

    callers: int
    calls_per_second: float
    engine_seconds: float  # of a call
    offered_seconds: float  # of a call
    service_cpu_seconds: float  # of a call
    p50: float
    p95: float


def measure(progress: Progress) -> BenchmarkResult:
    """Measure every kind at every concurrency, alone on the embedded fleet."""
    rows: dict[str, dict[str, float]] = {}
    for kind, levels in levels_of_all(progress).items():
        for level in levels:
            rows[f"{kind}, {level.callers}"] = {
                "calls/s": level.calls_per_second,
                "engine s": level.engine_seconds,
                "offered s": level.offered_seconds,
                "CPU s": level.service_cpu_seconds,
                "p50 s": level.p50,
                "p95 s": level.p95,
            }
    for service in profile("embedded").services:
        progress(f"start of {service}")
        rows[f"start of {service}"] = {"seconds": start_seconds(service)}
    return BenchmarkResult("Service curves: calls of one kind by callers", rows)


def levels_of_all(progress: Progress) -> dict[str, list[Level]]:
    """Measure the levels of each kind."""
    found: dict[str, list[Level]] = {}
    progress("starting the embedded fleet")
    with fleet("embedded") as running:
        status = running.status()
        address = running.address("gateway")
        with (
            OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=0) as client,
            BlockingConnection(address) as web,
        ):
            calls = mixed_calls(client, web)
            for name, (label, kind) in KINDS.items():
                call, _ = calls[label]
                call(-1)
                found[name] = []
                for callers in CALLERS:
                    progress(f"{name}: {callers} callers")
                    found[name].append(_level(call, callers, f"http://{status[kind.service]['metrics']}/metrics", kind))
    return found


def _level(call: BenchmarkCall, callers: int, metrics: str, kind: Kind) -> Level:
    end = time.perf_counter() + LEVEL_SECONDS

    def keep_calling(caller: int) -> list[float]:
        seconds: list[float] = []
        number = 10_000 * (caller + 1) + 1000 * callers
        while (began := time.perf_counter()) < end or not seconds:
            try:
                call(number + len(seconds))
            except (GatewayError, APIStatusError) as error:
                if error.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise
                time.sleep(BACK_OFF_SECONDS)
            else:
                seconds.append(time.perf_counter() - began)
        return seconds

    before, began = _counters_at(metrics, kind.model), time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        taken = [one for listed in pool.map(keep_calling, range(callers)) for one in listed]
    passed = time.perf_counter() - began
    time.sleep(0.2)  # a run is counted shortly after its response
    gained = {
        name: value - before[name]
        for name, value in counters(httpx.get(metrics).raise_for_status().text, kind.model).items()
    }
    count = len(taken)
    return Level(
        callers=callers,
        calls_per_second=count / passed,
        engine_seconds=gained["polyphony_inference_duration_seconds_sum"] / count,
        offered_seconds=gained["polyphony_offered_load_engine_seconds_total"] / count,
        service_cpu_seconds=gained["process_cpu_seconds_total"] / count,
        p50=percentile(taken, 0.5),
        p95=percentile(taken, 0.95),
    )


def _counters_at(url: str, model: str) -> dict[str, float]:
    return counters(httpx.get(url).raise_for_status().text, model)


def counters(exposition: str, model: str) -> dict[str, float]:
    """The counters of a model and of its process in the text of `/metrics`."""
    engine = "polyphony_inference_duration_seconds"
    names = (
        f"{engine}_sum",
        f"{engine}_count",
        "polyphony_offered_load_engine_seconds_total",
        "process_cpu_seconds_total",
    )
    found = dict.fromkeys(names, 0.0)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in found and sample.labels.get("model", model) == model:
                found[sample.name] = sample.value
    return found


def start_seconds(service: str) -> float:
    """The time from the start of a service's process until it is ready, with nothing else running."""
    row = profile("embedded").services[service]
    threads = max(1, round(row.cores * available_cores()))
    with service_process(service, "embedded", THREADS=str(threads)) as one:
        return one.ready_seconds


def as_toml(found: Mapping[str, list[Level]], starts: Mapping[str, float], machine: str) -> str:
    """The curves as TOML.

    Engine seconds are the CPU seconds of the service's process divided by its threads: the threads of the embedded
    profile compute all the time that they run, and other load on the machine does not change their CPU seconds.
    """
    today = datetime.now(UTC).date().isoformat()
    lines = [
        "# Measured and written by `python -m benchmarks.curves capacity/curves/embedded.toml`.",
        "# Engine seconds are CPU seconds of the service over its threads, which other work on the machine does not",
        "# stretch; load_seconds are by the clock. Assumed are the spread (the calls measured are all alike), and",
        "# schedule_seconds and weights_seconds: an image that the node has, weights in their volume.",
        'title = "The embedded profile"',
        f'date = "{today}"',
        f'machine = "{machine}"',
    ]
    for name, (_, kind) in KINDS.items():
        levels = found[name]
        cores = profile("embedded").services[kind.service].cores
        threads = max(1, round(cores * available_cores()))
        engines = SLOTS.get(kind.service, threads)
        alone_seconds = levels[0].service_cpu_seconds / threads
        full = next(level for level in levels if level.callers >= engines)
        seconds = [(1, alone_seconds)]
        if engines > 1:
            seconds += [(engines, max(alone_seconds, engines * full.service_cpu_seconds / threads))]
        rounded = ", ".join(f"[{together}, {value:.3g}]" for together, value in seconds)
        lines += [
            "",
            f"[services.{name}]",
            f'service = "{kind.service}"',
            f'call = "{kind.call}"',
            *([f"tokens = {kind.tokens}"] if kind.tokens else []),
            'kind = "slots"',
            f"engines = {engines}",
            f"seconds = [{rounded}]",
            "spread = 0.3",
            f"deadline_seconds = {kind.deadline_seconds:g}",
            f"queue = {kind.queue:g}",
            "schedule_seconds = 5",
            "weights_seconds = 5",
            f"load_seconds = {starts[kind.service]:.1f}",
            f"cpu_cores = {threads}",
            f"cpu_per_engine_second = {full.service_cpu_seconds / seconds[-1][1]:.3g}",
            "cpu_per_call = 0",
            f'source = "measured: through the gateway, {today}"',
            "# callers: calls/s, engine s, offered s, CPU s a call, p95 s",
            *(
                f"# {level.callers}: {level.calls_per_second:.3g}, {level.engine_seconds:.3g}, "
                f"{level.offered_seconds:.3g}, {level.service_cpu_seconds:.3g}, {level.p95:.3g}"
                for level in levels
            ),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the curves and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    console = Console(stderr=True)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "a processor")
    machine = f"{available_cores()} cores of {processor}, load {os.getloadavg()[0]:.1f} before, {platform.system()}"
    starts = {service: start_seconds(service) for service in profile("embedded").services}
    options.file.write_text(as_toml(levels_of_all(lambda what: console.print(what, style="dim")), starts, machine))


if __name__ == "__main__":
    main()
