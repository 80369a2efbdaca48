"""docs/how-to/planner.md says what the command prints."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import CapacityError
from capacity.planning import gpus
from capacity.planning.deployment import PlanRequest
from capacity.planning.memory import Load
from capacity.planning.plan import plan
from fleet.cli.main import app

PAGE = (Path(__file__).parents[4] / "docs/how-to/planner.md").read_text()
COMMAND = "$ polyphony "


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_tables_are_those_that_the_command_prints() -> None:
    block = PAGE.split("```")[1].strip()
    command, _, printed = block.partition("\n")
    result = CliRunner().invoke(app, shlex.split(command.removeprefix(COMMAND)))
    assert stripped(result.output) == stripped(printed)


def test_the_replicas_are_those_that_the_command_prints() -> None:
    (block,) = [block.strip() for block in PAGE.split("```") if "--rate" in block.partition("Replicas")[0]]
    command, _, printed = block.partition("\n")
    result = CliRunner().invoke(app, shlex.split(command.removeprefix(COMMAND)))
    assert "\n".join(stripped(printed)) in "\n".join(stripped(result.output))


def test_the_refusal_is_what_the_command_says() -> None:
    with pytest.raises(CapacityError) as caught:
        plan(PlanRequest("gpu-vllm", gpus.gpu("L4"), Load(8192, 16), "fp16"))
    assert f"> {caught.value}" in PAGE.splitlines()


@pytest.mark.parametrize("row", gpus.table(), ids=lambda row: row.id)
def test_each_gpu_has_its_row(row: gpus.Gpu) -> None:
    found = plan(PlanRequest("gpu-vllm", row, Load(8192, 16), "awq"))
    (speed,), packing = found.speeds, found.packing
    assert packing
    vllm = next(one for one in found.services if one.service == "vllm")
    cells = [row.id, f"{row.usable / 1e9:.1f}", f"{vllm.total / (row.memory_mib * gpus.MIB):.0%}"]
    cells += [packing.slices.get("vllm") or "-", "yes" if len(packing.shared) == 1 else "no"]
    cells += [f"{value:,.0f}" for value in (speed.alone, speed.together, speed.reading)]
    assert f"| {' | '.join(cells)} |" in PAGE.splitlines()
