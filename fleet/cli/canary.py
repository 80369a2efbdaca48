"""`polyphony canary`: send the labelled canary set and score the answers."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleet.errors import FleetError
from fleet.runner import state
from fleet.settings import FleetSettings

if TYPE_CHECKING:
    from evaluation.replay import CanaryResult
    from evaluation.report import Baseline
    from evaluation.tasks import CanaryTask

WIDTH = 100  # of a table that is not printed on a terminal


def canary(
    gateway: Annotated[
        str, typer.Option(help="URL of the gateway; default: POLYPHONY_FLEET_GATEWAY_URL, or this home's fleet.")
    ] = "",
    key: Annotated[str, typer.Option(help="API key; prefer POLYPHONY_FLEET_API_KEY.")] = "",
    push: Annotated[str, typer.Option(help="URL of a Pushgateway for the gauges.")] = "",
    baseline: Annotated[Path | None, typer.Option(help="JSON file of an earlier run to compare with.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Number of times that each item is sent.")] = 1,
    deadline: Annotated[float, typer.Option(min=1.0, help="Request timeout in seconds.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send the labelled canary set and score the answers; exit with 1 if an item got no answer."""
    from evaluation import gauges, report  # absent where the evaluation packages are not installed

    settings = FleetSettings(api_key=SecretStr(key)) if key else FleetSettings()
    check_url("--gateway" if gateway else "POLYPHONY_FLEET_GATEWAY_URL", gateway or settings.gateway_url)
    check_url("--push", push)
    url = gateway or settings.gateway_url or state.read(settings.run_dir).url
    before = _read(baseline) if baseline else {}
    results = _replayed(url, settings.api_key.get_secret_value(), repeat, deadline)
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(results), indent=2) + "\n")
    else:
        console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
        console.print(report.table(results, before))
        for line in report.details(results):
            console.print(line, highlight=False, soft_wrap=True)
    if push:
        try:
            gauges.push(results, push)
        except OSError as error:
            raise FleetError(f"cannot push the gauges to {push}: {error}") from error
    if any(result.failures for result in results):
        raise typer.Exit(1)


def check_url(option: str, url: str) -> None:
    """Raise FleetError if a value is set that is not the URL of a server."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FleetError(f"{option} must be a URL, got {url}: {error}") from error
    if url and not (parsed.scheme in ("http", "https") and parsed.host):
        raise FleetError(f"{option} must be a URL such as http://host:8080, got {url}")


def _read(path: Path) -> "Baseline":
    from evaluation import report

    try:
        return report.baseline(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise FleetError(f"cannot use the baseline {path}: {error}") from error


def _replayed(url: str, key: str, repeat: int, deadline: float) -> "list[CanaryResult]":
    from evaluation import canary_set, tasks

    asked = tasks.tasks(canary_set.read())
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        shown = progress.add_task(url, total=repeat * sum(len(task.items) for task in asked))
        try:
            return asyncio.run(_asked(asked, url, key, repeat, deadline, lambda: progress.advance(shown)))
        except asyncio.CancelledError:
            raise typer.Exit(128 + signal.SIGTERM) from None


async def _asked(
    asked: "tuple[CanaryTask, ...]", url: str, key: str, repeat: int, deadline: float, step: Callable[[], None]
) -> "list[CanaryResult]":
    from client.gateway import GatewayClient
    from evaluation.replay import replay

    if this := asyncio.current_task():  # on SIGTERM it still deletes its vector stores and files
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with GatewayClient.open(url, key, deadline) as gateway:
        return [await replay(task, gateway, repeat, step) for task in asked]
