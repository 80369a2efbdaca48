"""`polyphony simulate`: replay a load trace on a simulated autoscaler."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from capacity import curve as curve_files
from capacity.curve import Curve
from capacity.errors import CapacityError
from capacity.simulation.comparison import Case, compare
from capacity.simulation.defaults import DEFAULT
from capacity.simulation.outcome import RequestOutcome, SimulationResult
from capacity.simulation.scaling import METRICS, Metric
from capacity.simulation.traces import SHAPES, trace

HOURS: Mapping[str, float] = {"steady": 1.0, "diurnal": 6.0, "burst": 2.0, "flash-crowd": 1.5}
BOUNDS: Mapping[str, tuple[float, float]] = {
    "--target": (0.001, 1000),
    "--hours": (0.001, 48),
    "--pods": (0.001, 10_000),
}
FORMATS = (".svg", ".png", ".pdf")
MANY_CALLS = 2_000_000  # takes some minutes for each policy


def simulate(
    trace_name: Annotated[
        str, typer.Option("--trace", help=f"{', '.join(SHAPES)}, or a CSV file with the columns seconds and rate.")
    ] = "burst",
    service: Annotated[str, typer.Option(help="The service's curve: ocr, transcribe, chat, embed.")] = "chat",
    curves: Annotated[
        str, typer.Option(help="The profile of the curve: embedded is measured, gpu is assumed.")
    ] = "embedded",
    policy: Annotated[
        list[str] | None, typer.Option(help=f"The scaling metric: {', '.join(METRICS)}; repeatable.")
    ] = None,
    target: Annotated[float, typer.Option(help="Target of the first policy; 0 for its default.")] = 0.0,
    pods: Annotated[float, typer.Option(help="Base load, in fully used pods.")] = 3.0,
    hours: Annotated[float, typer.Option(help="Duration in hours; 0 for the trace's own.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random arrivals.")] = 1,
    picture: Annotated[Path | None, typer.Option(help="File for a plot: .svg, .png or .pdf.")] = None,
) -> None:
    """Simulate the autoscaler on a load trace and compare scaling metrics."""
    metrics = tuple(_metric(name) for name in policy or METRICS)
    for option, value in (("--target", target), ("--hours", hours), ("--pods", pods)):
        least, most = BOUNDS[option]
        if not (least <= value <= most or (value == 0 and option != "--pods")):
            raise CapacityError(f"{option} must be in [{least:g}, {most:g}], got {value:g}")
    if picture and (picture.suffix not in FORMATS or not picture.resolve().parent.is_dir()):
        raise CapacityError(f"--picture must end in {', '.join(FORMATS)} and be in an existing folder, got {picture}")
    curve = _curve(curves, service)
    load = trace(trace_name, pods * curve.rate, hours or HOURS.get(trace_name, 1.0), seed)
    if not load.rates.sum():
        raise CapacityError(f"the trace {trace_name} has no requests")
    case, calls = Case(load, curve, DEFAULT.behavior, seed).shortened()
    if case.trace.rates.sum() > MANY_CALLS:
        raise CapacityError(
            f"the trace has {load.rates.sum():,.0f} requests, too many to simulate: reduce --hours or --pods"
        )
    usual: dict[Metric, float] = {"offered-load": DEFAULT.share}
    targets = usual | ({metrics[0]: target} if target else {})
    console = Console()
    with console.status("") as status:
        found = compare(case, metrics, targets, status.update)
    console.print(table(f"{load.name}, {service}, curves {curves!r}", found), highlight=False)
    console.print(curve.source, style="dim", highlight=False)
    if calls > 1:
        console.print(f"one simulated request represents {calls}", style="dim", highlight=False)
    if picture:
        from capacity.simulation.picture import draw  # importing matplotlib takes a second

        draw(f"{load.name}, {service}, curves {curves!r}", case, found, picture)
        console.print(f"wrote {picture}", highlight=False)


def table(title: str, found: Mapping[str, SimulationResult]) -> Table:
    """A table with one row for each scaling metric."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None)
    shown.add_column("scaled on")
    for column in ("p50 s", "p95 s", "late %", "rejected %", "pod hours", "max pods"):
        shown.add_column(column, justify="right")
    for name, outcome in found.items():
        shown.add_row(
            name,
            f"{outcome.latency(0.5):.2f}",
            f"{outcome.latency(0.95):.2f}",
            f"{100 * outcome.share(RequestOutcome.LATE):.2f}",
            f"{100 * outcome.share(RequestOutcome.REJECTED, RequestOutcome.UNSERVED):.2f}",
            f"{outcome.pod_hours:.1f}",
            f"{max(moment.pods for moment in outcome.snapshots)}",
        )
    return shown


def _metric(name: str) -> Metric:
    for metric in METRICS:
        if metric == name:
            return metric
    raise CapacityError(f"unknown policy {name!r}; known policies: {', '.join(METRICS)}")


def _curve(profile: str, service: str) -> Curve:
    if profile not in curve_files.names():
        raise CapacityError(f"--curves: unknown profile {profile!r}; known profiles: {', '.join(curve_files.names())}")
    rows = curve_files.curves(profile).services
    if service not in rows:
        raise CapacityError(
            f"unknown service {service!r} in the curves of {profile!r}; known services: {', '.join(rows)}"
        )
    return rows[service]
