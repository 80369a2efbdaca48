"""`python -m benchmarks [NAME ...]`: measure, print tables, write bench.json."""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks import (
    chassis,
    curves,
    fleet,
    gateway,
    generation,
    live,
    long_file,
    mixed,
    overload,
    replay,
    speech,
    steps,
    voice,
)
from benchmarks.report import BenchmarkResult, Progress, verdict_table
from servekit.ops.settings import available_cores

MEASUREMENTS: dict[str, Callable[[Progress], BenchmarkResult]] = {
    "chassis": chassis.measure,
    "steps": steps.measure,
    "overload": overload.measure,
    "gateway": gateway.measure,
    "generation": generation.measure,
    "speech": speech.measure,
    "live": live.measure,
    "voice": voice.measure,
    "mixed": mixed.measure,
    "fleet": fleet.measure,
    "curves": curves.measure,
    "replay": replay.measure,
    "long_file": long_file.measure,
}


def _machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "processor": next((line.partition(": ")[2] for line in lines if line.startswith("model name")), ""),
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"NAME must be one of {', '.join(MEASUREMENTS)}, got {', '.join(sorted(unknown))}")
    console = Console()
    machine = _machine()
    console.print(machine, highlight=False)
    began = time.monotonic()
    results: dict[str, BenchmarkResult] = {}
    for name in options.names or MEASUREMENTS:
        with console.status(name) as status:

            def progress(what: str, name: str = name) -> None:
                status.update(f"{name}: {what}")

            results[name] = MEASUREMENTS[name](progress)
        console.print(results[name].table(), "")
    verdicts = [verdict for result in results.values() for verdict in result.verdicts]
    if verdicts:
        console.print(verdict_table(verdicts), "")
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began),
        "machine": machine,
        "results": {
            name: asdict(result) | {"verdicts": [asdict(one) | {"holds": one.holds} for one in result.verdicts]}
            for name, result in results.items()
        },
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"{report['seconds']} s; written to {options.output}", highlight=False)


if __name__ == "__main__":
    main()
