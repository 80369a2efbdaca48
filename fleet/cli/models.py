"""`polyphony models`: the weights of this machine."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from fleet.cli.errors import FleetError
from fleet.runner.lock import exclusive
from fleet.settings import FleetSettings
from fleet.weights import weights
from fleet.weights.sources import Sources
from servekit.models import catalogue

app = typer.Typer(no_args_is_help=True, help="The models' weights: get them, list them, check them.")

Ids = Annotated[list[str] | None, typer.Argument(help="Model ids; without any, those of the profile.")]
ProfileName = Annotated[str, typer.Option("--profile", help="A row of the catalogue's profiles.")]
ServiceName = Annotated[str, typer.Option("--service", help="Of the profile's models only those of this service.")]


def megabytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:,.1f} MB"


@app.command()
def pull(ids: Ids = None, profile: ProfileName = "", service: ServiceName = "") -> None:
    """Bring the weights that are missing; a pull that was cut short goes on where it stopped."""
    settings = FleetSettings.of(profile)
    console = Console(stderr=True)
    chosen = weights.specs(settings, ids, service)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    busy = "another `polyphony models pull` is at work in this home; wait for it"
    with exclusive(settings.models_dir / ".lock", busy), Sources(settings) as sources:
        for spec in chosen:
            absent = weights.missing(spec, settings.models_dir)
            size = sum(file.bytes for file in spec.files)
            if not absent:
                console.print(f"{spec.id}: present, {megabytes(size)}, licence {spec.licence}", highlight=False)
                continue
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
                task = progress.add_task(spec.id, total=sum(file.bytes for file in absent))
                show = partial(_show, progress, task)
                weights.pull(spec, absent, settings.models_dir, sources, show, settings.weights_mirror_url)
            console.print(f"{spec.id}: pulled, {megabytes(size)}, licence {spec.licence}", highlight=False)


def _show(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


@app.command(name="list")
def list_models() -> None:
    """Every model of the catalogue, and whether its weights are here."""
    settings = FleetSettings()
    extra = settings.catalogue
    profiles = {name: catalogue.profile(name, extra) for name in catalogue.names("profiles", extra)}
    table = Table(Column("model", no_wrap=True), "task", "licence", "size", "profiles", "here", box=None)
    for spec in (catalogue.model(name, extra) for name in catalogue.names("models", extra)):
        listing = [
            name
            for name, profile in profiles.items()
            if any(spec.id in service.models for service in profile.services.values())
        ]
        here = "yes" if not weights.missing(spec, settings.models_dir) else "no"
        size = megabytes(sum(file.bytes for file in spec.files)) if spec.files else "none"
        table.add_row(spec.id, spec.task, spec.licence, size, ", ".join(listing), here)
    Console().print(table)


@app.command()
def verify(ids: Ids = None, profile: ProfileName = "", service: ServiceName = "") -> None:
    """Read every byte and compare its digest with the catalogue's; fails if any differs."""
    settings = FleetSettings.of(profile)
    bad = []
    for spec in weights.specs(settings, ids, service):
        files = weights.wrong(spec, settings.models_dir)
        bad += [str(spec.folder(settings.models_dir) / file.path) for file in files]
        Console().print(f"{spec.id}: {'wrong: ' + ', '.join(f.path for f in files) if files else 'right'}")
    if bad:
        raise FleetError("missing or damaged; remove and `polyphony models pull` again:\n  " + "\n  ".join(bad))
