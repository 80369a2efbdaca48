"""The `polyphony` command."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from capacity.cli import app as capacity
from capacity.errors import CapacityError
from client.errors import GatewayError
from fleet.cli import evaluate, models
from fleet.cli.ask import Question, ask_question, connect, read_file, seconds_table, sources_table
from fleet.cli.canary import canary
from fleet.errors import FleetError
from fleet.runner import control
from fleet.runner.logs import follow, tail
from fleet.settings import FleetSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(capacity)
app.command()(canary)


@app.command()
def up(profile: Annotated[str, typer.Option(help="The profile to run: embedded, fake or gpu.")] = "") -> None:
    """Start the fleet of this machine in the background and return when it is ready."""
    settings = FleetSettings.of(profile)
    console = Console(stderr=True)
    began = time.monotonic()
    with console.status("starting") as shown:

        def show(ready: dict[str, bool]) -> None:
            shown.update("waiting for " + ", ".join(name for name, is_ready in ready.items() if not is_ready))

        fleet = control.up(settings, show)
    console.print(
        f"ready in {time.monotonic() - began:.1f} s: profile {fleet.profile}, home {settings.home}", highlight=False
    )
    for process in fleet.processes:
        Console().print(f"  {process.name:<11}{process.address:<24}{', '.join(process.models)}", highlight=False)


@app.command()
def down() -> None:
    """Stop the fleet after running requests have finished."""
    stopped = control.down(FleetSettings())
    Console(stderr=True).print("stopped" if stopped else "no fleet is running in this home")


@app.command(name="status")
def show_status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the address, readiness and resource usage of each process."""
    from fleet.runner import status  # psutil is absent where only the tools are installed

    rows = status.rows(FleetSettings())
    if as_json:
        sys.stdout.write(json.dumps(status.as_json(rows), indent=2) + "\n")
    else:
        Console().print(status.as_table(rows))


@app.command()
def logs(
    process: Annotated[str, typer.Argument(help="One process; default: all.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines of each log.")] = 20,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Follow the logs.")] = False,
) -> None:
    """Print the logs of the processes."""
    folder = FleetSettings().logs_dir
    for line in tail(folder, process, lines):
        sys.stdout.write(line)
    if follow_on:
        for line in follow(folder, process):
            sys.stdout.write(line)
            sys.stdout.flush()


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="The question; optional if --audio is given.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="Image file; repeatable.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="Audio file; repeatable.")] = None,
    document: Annotated[list[Path] | None, typer.Option(help="Text file to search; repeatable.")] = None,
    speak: Annotated[Path | None, typer.Option(help="File for the spoken answer: wav, mp3 or flac.")] = None,
    model: Annotated[str, typer.Option(help="Model id; default: the profile's.")] = "",
) -> None:
    """Send the gateway one question of text, images, recordings and documents."""
    question = Question(text, image or (), audio or (), document or (), model, speak)
    if not (text or image or audio):
        raise FleetError("no input: pass TEXT, --image or --audio")
    console = Console()

    async def answer() -> dict[str, Any]:
        async with connect(FleetSettings()) as gateway:
            return await ask_question(gateway, question, lambda delta: console.out(delta, end="", highlight=False))

    about = asyncio.run(answer())
    console.print("\n")
    if about["sources"]:
        console.print(sources_table(about["sources"]), "")
    console.print(seconds_table(about))
    if about["degraded"]:
        console.print(f"\ndegraded: {', '.join(about['degraded'])}", style="red", highlight=False)
    if speak:
        console.print(f"\nwrote {speak}", highlight=False)


@app.command(name="draw")
def draw_recording(
    recording: Annotated[Path, typer.Argument(help="Audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output file: svg, png or pdf.")],
) -> None:
    """Draw a recording: waveform, words and speakers."""
    from fleet.cli.draw import draw, talk  # matplotlib is absent where only the tools are installed

    async def transcript() -> tuple[dict[str, Any], dict[str, Any]]:
        data, words = read_file(recording), {"timestamp_granularities[]": ["word", "segment"]}
        async with connect(FleetSettings()) as gateway:
            text = await gateway.transcribe(data, recording.name, response_format="verbose_json", **words)
            return text, await gateway.diarize(data, recording.name)

    draw(talk(recording, *asyncio.run(transcript())), output)
    Console(stderr=True).print(f"wrote {output}", highlight=False)


def main() -> None:
    """Run the command; an expected error prints its text and exits with 1."""
    try:
        app()
    except (FleetError, GatewayError, CapacityError) as error:
        Console(stderr=True).print(f"polyphony: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
