"""The readiness and resource usage of each process."""

import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.table import Table

from fleet.runner import health, state
from fleet.settings import FleetSettings

SAMPLE_SECONDS = 0.3


@dataclass(frozen=True)
class Row:
    """The status of one process.

    Attributes:
        process: The name.
        pid: The process id while it runs.
        address: The address on which it listens.
        grpc: The address of its gRPC port, if any.
        metrics: The address of its `/metrics`, if any.
        models: The models that it runs.
        ready: Whether it serves requests.
        memory_mb: The proportional set size in MiB, children included, which counts shared pages once over the fleet.
        load: The number of cores in use, children included.
        seconds: The uptime.
        restarts: The number of restarts.
        reason: How it ended last, or that the recorded process has ended.
    """

    process: str
    pid: int | None
    address: str
    grpc: str
    metrics: str
    models: tuple[str, ...]
    ready: bool
    memory_mb: float
    load: float
    seconds: float
    restarts: int
    reason: str


def rows(settings: FleetSettings) -> list[Row]:
    """The status of every process of this home's fleet, the supervisor last.

    Raises:
        FleetError: No fleet is running.
    """
    fleet = state.read(settings.run_dir)
    ready = asyncio.run(health.all_ready(fleet.processes))
    pids = [*(process.pid for process in fleet.processes), fleet.pid]
    families = [_family(pid, fleet.pid) for pid in pids]
    before = [_cpu_seconds(family) for family in families]
    time.sleep(SAMPLE_SECONDS)
    loads = [(_cpu_seconds(family) - was) / SAMPLE_SECONDS for family, was in zip(families, before, strict=True)]
    memory = [sum(_pss_mb(process.pid) for process in family) for family in families]
    now = time.time()
    listing = [
        Row(
            process=one.name,
            pid=one.pid,
            address=one.address,
            grpc=one.grpc,
            metrics=one.metrics,
            models=one.models,
            ready=ready[one.name],
            memory_mb=round(memory[index], 1),
            load=round(loads[index], 2),
            seconds=round(now - one.since) if one.pid else 0,
            restarts=one.restarts,
            reason=one.reason,
        )
        for index, one in enumerate(fleet.processes)
    ]
    supervisor = Row(
        process="supervisor",
        pid=fleet.pid,
        address="",
        grpc="",
        metrics="",
        models=(),
        ready=True,
        memory_mb=round(memory[-1], 1),
        load=round(loads[-1], 2),
        seconds=0,
        restarts=0,
        reason="",
    )
    return [*listing, supervisor]


def as_json(listing: list[Row]) -> list[dict[str, object]]:
    """The rows as JSON values."""
    return [asdict(row) for row in listing]


def as_table(listing: list[Row]) -> Table:
    """The rows as a table."""
    table = Table(box=None)
    for name in ("process", "pid", "address", "models", "ready", "memory", "load", "restarts", "last end"):
        table.add_column(name, no_wrap=name not in ("models", "last end"))
    for row in listing:
        ready = "[green]yes[/]" if row.ready else "[red]no[/]"
        cells = (row.process, str(row.pid or "-"), row.address, ", ".join(row.models), ready)
        table.add_row(*cells, f"{row.memory_mb:,.0f} MiB", f"{row.load:.2f}", str(row.restarts), row.reason)
    total = sum(row.memory_mb for row in listing)
    table.add_row("[bold]total", "", "", "", "", f"[bold]{total:,.0f} MiB", "", "", "")
    return table


def _family(pid: int | None, supervisor: int) -> list[psutil.Process]:
    """A process and its children; the supervisor alone, since its children have rows of their own."""
    try:
        process = psutil.Process(pid or -1)
        return [process] if pid == supervisor else [process, *process.children(recursive=True)]
    except (psutil.NoSuchProcess, ValueError):
        return []


def _cpu_seconds(family: list[psutil.Process]) -> float:
    seconds = 0.0
    for process in family:
        try:
            times = process.cpu_times()
            seconds += times.user + times.system
        except psutil.Error:
            continue
    return seconds


def _pss_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0  # it exited, or belongs to another user
    return 0.0
