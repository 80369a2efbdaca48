"""`polyphony simulate`: arguments to a table and a picture."""

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
MANY_CALLS = 2_000_000  # some minutes for each policy


def simulate(
    trace_name: Annotated[
        str, typer.Option("--trace", help=f"{', '.join(SHAPES)}, or a .csv file with columns seconds, rate.")
    ] = "burst",
    service: Annotated[str, typer.Option(help="Which curve: ocr, transcribe, chat, embed.")] = "chat",
    curves: Annotated[str, typer.Option(help="Of which profile: embedded is measured, gpu assumed.")] = "embedded",
    policy: Annotated[list[str] | None, typer.Option(help=f"{', '.join(METRICS)}; may be given again.")] = None,
    target: Annotated[float, typer.Option(help="Of the first policy; 0 for the usual one.")] = 0.0,
    pods: Annotated[float, typer.Option(help="The usual load, in pods that are full.")] = 3.0,
    hours: Annotated[float, typer.Option(help="How long; 0 for the trace's own length.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance: the same seed, the same calls.")] = 1,
    picture: Annotated[Path | None, typer.Option(help="Where to draw it: .svg, .png or .pdf.")] = None,
) -> None:
    """Replay the autoscaler on a load, and compare what it may scale on."""
    metrics = tuple(_metric(name) for name in policy or METRICS)
    for option, value in (("--target", target), ("--hours", hours), ("--pods", pods)):
        least, most = BOUNDS[option]
        if not (least <= value <= most or (value == 0 and option != "--pods")):
            raise CapacityError(f"{option} is {least:g} to {most:g}, not {value:g}")
    if picture and (picture.suffix not in FORMATS or not picture.resolve().parent.is_dir()):
        raise CapacityError(f"--picture is a file that ends in {', '.join(FORMATS)}, in a folder that exists")
    curve = _curve(curves, service)
    load = trace(trace_name, pods * curve.rate, hours or HOURS.get(trace_name, 1.0), seed)
    if not load.rates.sum():
        raise CapacityError(f"nobody calls in {trace_name}")
    case, calls = Case(load, curve, DEFAULT.behavior, seed).shortened()
    if case.trace.rates.sum() > MANY_CALLS:
        raise CapacityError(f"that is {load.rates.sum():,.0f} calls, too many to replay: give fewer --hours or --pods")
    usual: dict[Metric, float] = {"demand": DEFAULT.share}
    targets = usual | ({metrics[0]: target} if target else {})
    console = Console()
    with console.status("") as status:
        found = compare(case, metrics, targets, status.update)
    console.print(table(f"{load.name}, {service}, curves {curves!r}", found), highlight=False)
    console.print(curve.source, style="dim", highlight=False)
    if calls > 1:
        console.print(f"one simulated call stands for {calls}", style="dim", highlight=False)
    if picture:
        from capacity.simulation.picture import draw  # matplotlib takes a second to import, and only this needs it

        draw(f"{load.name}, {service}, curves {curves!r}", case, found, picture)
        console.print(f"drawn in {picture}", highlight=False)


def table(title: str, found: Mapping[str, SimulationResult]) -> Table:
    """A row for each way to scale."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None)
    shown.add_column("scaled on")
    for column in ("p50 s", "p95 s", "late %", "refused %", "pod hours", "most pods"):
        shown.add_column(column, justify="right")
    for name, outcome in found.items():
        shown.add_row(
            name,
            f"{outcome.latency(0.5):.2f}",
            f"{outcome.latency(0.95):.2f}",
            f"{100 * outcome.share(RequestOutcome.LATE):.2f}",
            f"{100 * outcome.share(RequestOutcome.REFUSED, RequestOutcome.UNSERVED):.2f}",
            f"{outcome.pod_hours:.1f}",
            f"{max(moment.pods for moment in outcome.moments)}",
        )
    return shown


def _metric(name: str) -> Metric:
    for metric in METRICS:
        if metric == name:
            return metric
    raise CapacityError(f"there is no policy {name!r}; there is {', '.join(METRICS)}")


def _curve(profile: str, service: str) -> Curve:
    if profile not in curve_files.names():
        raise CapacityError(f"--curves: there are none of {profile!r}; there are {', '.join(curve_files.names())}")
    rows = curve_files.curves(profile).services
    if service not in rows:
        raise CapacityError(f"there is no curve of {service!r} in {profile!r}; there is {', '.join(rows)}")
    return rows[service]
