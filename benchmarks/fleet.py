"""Start time of the fleet, and its memory while idle."""

import time
from statistics import median

from benchmarks.report import BenchmarkResult, Progress, Verdict
from benchmarks.running import fleet

STARTS = 2
REST_SECONDS = 5.0


def measure(progress: Progress) -> BenchmarkResult:
    """Measure the embedded profile with its models present."""
    seconds = []
    status = {}
    for number in range(STARTS):
        progress(f"start {number + 1} of {STARTS}")
        began = time.perf_counter()
        with fleet("embedded") as running:
            seconds.append(time.perf_counter() - began)
            time.sleep(REST_SECONDS)
            status = running.status()
    rows = {name: {"memory MiB": float(row["memory_mb"])} for name, row in status.items()}
    total = sum(row["memory MiB"] for row in rows.values())
    rows["together"] = {"memory MiB": total}
    return BenchmarkResult(
        "The embedded fleet at rest: proportional set size",
        rows,
        [
            Verdict("from `polyphony up` to ready", median(seconds), "at most", 20.0, "s"),
            Verdict("memory of the fleet at rest", total, "at most", 3 * 1024.0, "MiB"),
        ],
    )
