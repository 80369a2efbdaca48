"""`polyphony plan`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from capacity.errors import CapacityError
from capacity.planning.packing import Sharing
from capacity.planning.precision import Name

WIDTH = 120  # of what is not printed on a terminal
MOST_RATE = 1_000_000  # calls a second
MOST_GB = 1_000_000  # of a machine


def rates(words: str) -> dict[str, float]:
    """`ocr=5,chat=0.5` by kind.

    Raises:
        BadParameter: It is not that.
    """
    found: dict[str, float] = {}
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        kind = name.strip()
        if kind in found:
            raise typer.BadParameter(f"{kind} is there twice")
        try:
            found[kind] = float(number)
        except ValueError:
            raise typer.BadParameter(f"{word!r} is not KIND=CALLS_A_SECOND, such as chat=2") from None
        if not 0 < found[kind] <= MOST_RATE:
            raise typer.BadParameter(f"{word!r}: a rate is more than 0 calls a second, and at most {MOST_RATE:,}")
    return found


def make_plan(
    gpu: Annotated[str, typer.Option(help="L4, A10, A100-40, A100-80, H100, H200, or none for a CPU.")],
    profile: Annotated[str, typer.Option(help="What runs: a row of the catalogue's profiles.")] = "gpu",
    rate: Annotated[str, typer.Option(help="Calls a second by kind, such as ocr=5,chat=2.")] = "",
    context: Annotated[int, typer.Option(min=1, help="Tokens of a prompt and its answer.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, help="Texts written at once.")] = 4,
    quantization: Annotated[Name | None, typer.Option(help="How language models keep their weights.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model beside the profile's; may be given again.")] = None,
    side: Annotated[int, typer.Option(min=0, help="Pixels of an image's side; 0 for each model's own.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="Images of one call.")] = 1,
    offload: Annotated[bool, typer.Option(help="Diffusion keeps only what runs on the GPU.")] = False,
    prefill: Annotated[int, typer.Option(min=0, help="Tokens read in one step; 0 for the engine's own.")] = 0,
    share: Annotated[Sharing, typer.Option(help="How services share GPUs.")] = "none",
    target: Annotated[float, typer.Option(min=0.05, max=1, help="Share of a pod's engines to be busy.")] = 0.7,
    memory_gb: Annotated[float, typer.Option(min=0, max=MOST_GB, help="With --gpu none: what the machine has.")] = 0,
    adapt: Annotated[str, typer.Option(help="A language model to adapt by QLoRA on such a GPU.")] = "",
    adapt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one step of that.")] = 2048,
    values: Annotated[Path | None, typer.Option(help="Where to write values for charts/polyphony.")] = None,
) -> None:
    """What memory a profile needs, what fits on which GPUs, how many replicas; refuses what does not fit."""
    try:
        asked = rates(rate)
    except typer.BadParameter as error:
        error.param_hint = "--rate"
        raise
    # Here, so that the other commands do not pay for it.
    from capacity.planning import gpus
    from capacity.planning.deployment import PlanRequest
    from capacity.planning.memory import Load
    from capacity.planning.plan import plan
    from capacity.planning.tables import tables
    from capacity.planning.training import TrainingRecipe
    from capacity.planning.values import text

    question = PlanRequest(
        profile=profile,
        gpu=None if gpu.lower() == "none" else gpus.gpu(gpu),
        load=Load(context, concurrency, prefill, images, side * side, offload),
        quantization=quantization,
        rates=asked,
        share=target,
        sharing=share,
        extra=tuple(model or ()),
        memory_bytes=round(memory_gb * 1e9),
        adapt=adapt,
        recipe=TrainingRecipe(tokens=adapt_tokens),
    )
    answer = plan(question)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for table in tables(answer):
        console.print(table.title, style="bold", highlight=False)
        table.title = None
        console.print(table, "")
    if values:
        try:
            values.write_text(text(answer, shlex.join(["polyphony", *sys.argv[1:]])))
        except OSError as error:
            raise CapacityError(f"--values {values}: {error.strerror}") from error
        console.print(f"values: {values}", highlight=False)
