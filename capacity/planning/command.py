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

WIDTH = 120  # of a table that is not printed on a terminal
MAX_RATE = 1_000_000  # requests a second
MAX_GB = 1_000_000  # memory of a machine


def rates(words: str) -> dict[str, float]:
    """Parse rates such as `ocr=5,chat=0.5`.

    Raises:
        BadParameter: The text has another form, or a rate is out of range.
    """
    found: dict[str, float] = {}
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        kind = name.strip()
        if kind in found:
            raise typer.BadParameter(f"{kind} is given twice")
        try:
            found[kind] = float(number)
        except ValueError:
            raise typer.BadParameter(f"must be KIND=REQUESTS_PER_SECOND such as chat=2, got {word!r}") from None
        if not 0 < found[kind] <= MAX_RATE:
            raise typer.BadParameter(f"a rate must be in (0, {MAX_RATE:,}] requests per second, got {word!r}")
    return found


def make_plan(
    gpu: Annotated[str, typer.Option(help="L4, A10, A100-40, A100-80, H100, H200, or none for CPUs.")],
    profile: Annotated[str, typer.Option(help="A profile of the catalogue.")] = "gpu",
    rate: Annotated[str, typer.Option(help="Requests per second by kind, such as ocr=5,chat=2.")] = "",
    context: Annotated[int, typer.Option(min=1, help="Tokens of a prompt and its answer together.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, help="Texts generated concurrently.")] = 4,
    quantization: Annotated[Name | None, typer.Option(help="Precision of the weights of language models.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="An additional model; repeatable.")] = None,
    side: Annotated[int, typer.Option(min=0, help="Side of an image in pixels; 0 for each model's default.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="Images of one request.")] = 1,
    offload: Annotated[bool, typer.Option(help="Offload idle parts of diffusion models to the CPU.")] = False,
    prefill: Annotated[int, typer.Option(min=0, help="Tokens of a prefill chunk; 0 for the engine's default.")] = 0,
    share: Annotated[Sharing, typer.Option(help="How services share GPUs.")] = "none",
    target: Annotated[float, typer.Option(min=0.05, max=1, help="Target utilization of a pod's engines.")] = 0.7,
    memory_gb: Annotated[
        float, typer.Option(min=0, max=MAX_GB, help="With --gpu none: memory of the machine in GB.")
    ] = 0,
    adapt: Annotated[str, typer.Option(help="A language model to fine-tune by QLoRA on such a GPU.")] = "",
    adapt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one training step.")] = 2048,
    values: Annotated[Path | None, typer.Option(help="File for Helm values of charts/polyphony.")] = None,
) -> None:
    """Plan memory, GPUs and replicas of a profile; exit with 1 if it does not fit."""
    try:
        asked = rates(rate)
    except typer.BadParameter as error:
        error.param_hint = "--rate"
        raise
    # Imported here, so that other commands start faster.
    from capacity.planning import gpus
    from capacity.planning.deployment import PlanRequest
    from capacity.planning.memory import Load
    from capacity.planning.plan import plan
    from capacity.planning.tables import tables
    from capacity.planning.training import TrainingRecipe
    from capacity.planning.values import text

    request = PlanRequest(
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
    answer = plan(request)
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
