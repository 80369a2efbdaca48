from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import CapacityError
from fleet.cli.main import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *arguments])
    if isinstance(result.exception, CapacityError):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("name", ["L4", "A10", "A100-40", "A100-80", "H100", "H200"])
def test_every_gpu_has_its_tables(name: str) -> None:
    code, output = run("--profile", "gpu-vllm", "--gpu", name, "--quantization", "awq")
    assert code == 0
    for word in ("pp-ocrv6-small", "vllm", "GPUs for one replica each", "Tokens a second at most"):
        assert word in output


def test_no_gpu_plans_the_memory_of_a_machine() -> None:
    code, output = run("--profile", "embedded", "--gpu", "none")
    assert code == 0
    assert "together" in output
    assert "GPUs" not in output


def test_values_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    code, output = run("--gpu", "L4", "--values", str(tmp_path / "plan.yaml"))
    assert (code, output.splitlines()[-1].split()[0]) == (0, "values:")
    assert (tmp_path / "plan.yaml").read_text().startswith("# Written by `polyphony")
    with pytest.raises(CapacityError, match=r"--values .*: No such file or directory"):
        run("--gpu", "L4", "--values", str(tmp_path / "nowhere" / "plan.yaml"))


def test_values_for_a_server_that_nobody_calls_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    with pytest.raises(CapacityError, match="plan --profile gpu-vllm"):
        run("--profile", "gpu", "--gpu", "L4", "--quantization", "awq", "--values", str(path))
    assert not path.exists()
    code, _ = run("--profile", "gpu-vllm", "--gpu", "L4", "--quantization", "awq", "--values", str(path))
    assert (code, path.exists()) == (0, True)


def test_adapting_a_model_is_planned_beside() -> None:
    _, output = run("--gpu", "L4", "--adapt", "qwen2.5-7b-instruct")
    assert "To adapt by QLoRA, rank 64, 2,048 tokens a step" in output


@pytest.mark.parametrize(
    "words",
    [
        "chat",
        "chat=",
        "chat=fast",
        "chat=0",
        "chat=-1",
        "chat=inf",
        "chat=nan",
        "chat=1e308",
        "ocr=1,ocr=5",
        "ocr=1, ocr =5",
    ],
)
def test_a_rate_that_is_none_names_the_option(words: str) -> None:
    code, output = run("--gpu", "L4", "--rate", words)
    assert code == 2
    assert "--rate" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gpu", "L4", "--context", "0"),
        ("--gpu", "L4", "--concurrency", "0"),
        ("--gpu", "L4", "--quantization", "int3"),
        ("--gpu", "L4", "--share", "both"),
        ("--gpu", "L4", "--target", "1.5"),
        ("--gpu", "L4", "--target", "nan"),
        ("--gpu", "none", "--memory-gb", "nan"),
        ("--gpu", "none", "--memory-gb", "inf"),
        (),
    ],
)
def test_options_that_are_wrong_are_named(arguments: tuple[str, ...]) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert (arguments[-2] if len(arguments) > 2 else "--gpu") in output
