"""`polyphony models`: the weights of models on this machine."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from fleet.errors import FleetError
from fleet.runner.folders import make_home
from fleet.runner.lock import exclusive
from fleet.settings import FleetSettings
from fleet.weights import weights
from fleet.weights.sources import Sources
from servekit.models import catalogue

app = typer.Typer(no_args_is_help=True, help="Pull, list and verify the weights of models.")

Ids = Annotated[list[str] | None, typer.Argument(help="Model ids; default: those of the profile.")]
ProfileName = Annotated[str, typer.Option("--profile", help="A profile of the catalogue.")]
ServiceName = Annotated[str, typer.Option("--service", help="Only the profile's models of this service.")]


def megabytes(count: int) -> str:
    """A number of bytes as text, in megabytes."""
    return f"{count / 1e6:,.1f} MB"


@app.command()
def pull(ids: Ids = None, profile: ProfileName = "", service: ServiceName = "") -> None:
    """Download missing weights; an interrupted pull resumes where it stopped."""
    settings = FleetSettings.of(profile)
    console = Console(stderr=True)
    chosen = weights.specs(settings, ids, service)
    make_home(settings.home)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    busy = "another `polyphony models pull` is running in this home"
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
    """List the models of the catalogue and whether their weights are present."""
    settings = FleetSettings()
    extra = settings.catalogue
    profiles = {name: catalogue.profile(name, extra) for name in catalogue.names("profiles", extra)}
    table = Table(Column("model", no_wrap=True), "task", "licence", "size", "profiles", "present", box=None)
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
    """Compare the digest of every file with the catalogue; exit with 1 if any differs."""
    settings = FleetSettings.of(profile)
    bad = []
    for spec in weights.specs(settings, ids, service):
        files = weights.wrong(spec, settings.models_dir)
        bad += [str(spec.folder(settings.models_dir) / file.path) for file in files]
        Console().print(f"{spec.id}: {'corrupt: ' + ', '.join(f.path for f in files) if files else 'ok'}")
    if bad:
        raise FleetError("missing or corrupt; delete them and run `polyphony models pull`:\n  " + "\n  ".join(bad))
