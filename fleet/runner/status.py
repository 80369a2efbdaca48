"""What each process of the fleet is, does and takes."""

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
    """One process.

    Attributes:
        process: Its name.
        pid: Its process id while it runs.
        address: Where it listens.
        grpc: Where it speaks gRPC, if it does.
        metrics: Where its `/metrics` is, if it has any.
        models: What it runs.
        ready: Whether it serves.
        memory_mb: Its proportional set size and its children's, in MiB: shared pages are counted once over the fleet.
        load: Cores it kept busy just now, its children included.
        seconds: For how long it has run.
        restarts: How often it was started again.
        reason: Why it ended last.
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
    """Every process of the home's fleet, the supervisor last.

    Raises:
        FleetError: None runs.
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
    """The rows as plain data."""
    return [asdict(row) for row in listing]


def as_table(listing: list[Row]) -> Table:
    """The rows for people."""
    table = Table(box=None)
    for name in ("process", "pid", "address", "models", "ready", "memory", "load", "restarts"):
        table.add_column(name, no_wrap=name != "models")
    for row in listing:
        ready = "[green]yes[/]" if row.ready else "[red]no[/]"
        cells = (row.process, str(row.pid or "-"), row.address, ", ".join(row.models), ready)
        table.add_row(*cells, f"{row.memory_mb:,.0f} MiB", f"{row.load:.2f}", str(row.restarts))
    total = sum(row.memory_mb for row in listing)
    table.add_row("[bold]together", "", "", "", "", f"[bold]{total:,.0f} MiB", "", "")
    return table


def _family(pid: int | None, supervisor: int) -> list[psutil.Process]:
    """A process and its children; of the supervisor only itself, its children have rows of their own."""
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
        return 0.0  # it has gone, or is another user's
    return 0.0
