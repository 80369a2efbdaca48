"""`polyphony evaluate`: score a fleet on whole evaluation sets."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleet.cli.canary import check_url
from fleet.errors import FleetError
from fleet.runner import state
from fleet.settings import FleetSettings

if TYPE_CHECKING:
    from evaluation.speech.outcome import TaskResult
    from evaluation.speech.task import EvaluationTask
    from evaluation.speech_set.manifest import Manifest

WIDTH = 160  # of a table that is not printed on a terminal
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"

app = typer.Typer(no_args_is_help=True, help="Score a fleet on whole evaluation sets.")


@app.callback()
def _evaluate() -> None:
    """Score a fleet on whole evaluation sets."""


@app.command()
def speech(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the set, built there if missing; default: within the home.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Comma-separated tasks: transcribe,diarize,align,enhance,speak,live,sounds.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Maximum clips of each task, spread over the set; 0 for all.")] = 0,
    gateway: Annotated[
        str, typer.Option(help="URL of the gateway; default: POLYPHONY_FLEET_GATEWAY_URL, or this home's fleet.")
    ] = "",
    key: Annotated[str, typer.Option(help="API key; prefer POLYPHONY_FLEET_API_KEY.")] = "",
    deadline: Annotated[float, typer.Option(min=1.0, help="Request timeout in seconds.")] = 300.0,
    output: Annotated[Path | None, typer.Option("--json", help="File for the results as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Document whose measured section is rewritten.")] = None,
) -> None:
    """Send every clip of the speech evaluation set and score the answers; exit with 0 if all clips were sent."""
    settings = FleetSettings(api_key=SecretStr(key)) if key else FleetSettings()
    check_url("--gateway" if gateway else "POLYPHONY_FLEET_GATEWAY_URL", gateway or settings.gateway_url)
    url = gateway or settings.gateway_url or state.read(settings.run_dir).url
    if markdown and BEGIN not in _read(markdown):
        raise FleetError(f"{markdown} has no line {BEGIN.strip()}")
    place = folder or settings.home / "evaluation" / "speech"
    made = _set(place)
    tasks = _tasks(made, only, limit)
    outcomes = _asked(tasks, url, settings.api_key.get_secret_value(), deadline, place)
    _show(outcomes, made)
    from evaluation.speech import outcome

    data = outcome.as_json(outcomes)
    if output:
        output.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    if markdown:
        before, _, rest = _read(markdown).partition(BEGIN)
        measured = outcome.as_markdown(data, _preface(made, limit))
        markdown.write_text(f"{before}{BEGIN}\n{measured}\n{END}{rest.partition(END)[2]}")


def _preface(made: "Manifest", limit: int) -> str:
    """A sentence that says what was measured."""
    share = f"{limit} clips of each task, sampled evenly" if limit else "all of it"
    minutes = sum(clip.seconds for clip in made.clips) / 60
    return f"On {date.today().isoformat()}, of {len(made.clips)} clips, {minutes:.0f} minutes: {share}."


def _set(folder: Path) -> "Manifest":
    try:
        from evaluation.speech_set import manifest
        from evaluation.speech_set.maker import make
    except ImportError as error:
        raise FleetError(f"the evaluation needs the development packages: {error.name} is not installed") from error
    try:
        return manifest.read(folder)
    except FileNotFoundError:
        console = Console(stderr=True)
        console.print(
            f"building the evaluation set in {folder}, which takes some minutes", highlight=False, soft_wrap=True
        )
        return make(folder, console)
    except ValueError as error:
        raise FleetError(f"{folder} is not a speech evaluation set: {error}") from error


def _tasks(made: "Manifest", only: str, limit: int) -> "list[EvaluationTask]":
    try:
        from evaluation.speech.tasks import TASKS
    except ImportError as error:
        raise FleetError(f"the evaluation needs the development packages: {error.name} is not installed") from error
    wanted = {name.strip() for name in only.split(",")} - {""}
    if unknown := wanted - {task.name for task in TASKS}:
        raise FleetError(
            f"unknown task {', '.join(sorted(unknown))}; known tasks: {', '.join(task.name for task in TASKS)}"
        )
    return [task(made.clips, limit) for task in TASKS if not wanted or task.name in wanted]


def _asked(tasks: "Sequence[EvaluationTask]", url: str, key: str, deadline: float, folder: Path) -> "list[TaskResult]":
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        async def ask() -> "list[TaskResult]":
            return [await _run(task, progress, url, key, deadline, folder) for task in tasks]

        return asyncio.run(ask())


async def _run(
    task: "EvaluationTask", progress: Progress, url: str, key: str, deadline: float, folder: Path
) -> "TaskResult":
    from client.gateway import GatewayClient

    shown = progress.add_task(task.name, total=task.items)
    step: Callable[[], None] = lambda: progress.advance(shown)  # noqa: E731
    async with GatewayClient.open(url, key, deadline) as gateway:
        return await task.run(gateway, folder, step)


def _show(outcomes: "Sequence[TaskResult]", made: "Manifest") -> None:
    from evaluation.speech import outcome

    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    for found in outcomes:
        for table in outcome.tables(found):
            console.print(table, "")
        for line in outcome.details(found):
            console.print(line, highlight=False, soft_wrap=True)
    for lack in made.missing:
        console.print(f"missing from the set: {lack}", style="yellow", highlight=False)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror}") from error
