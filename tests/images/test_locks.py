"""The images' parts of the lock say what the whole lock says, and name all that each image needs."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVICES = ("gateway", "vision", "speech", "generation", "retrieval", "tools")
GPU_SERVICES = ("vision", "speech", "retrieval")


def pins(lock: str) -> dict[str, frozenset[str]]:
    """Each `name==version` of a lock with its digests; where it is wanted is each lock's own."""
    rows = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    return {row.split()[0]: frozenset(re.findall("sha256:[0-9a-f]{64}", row)) for row in rows}


def names(lock: str) -> set[str]:
    """The packages of a lock."""
    return {pin.split("==")[0] for pin in pins(lock)}


def needed(requirements: list[str]) -> set[str]:
    """The packages that requirements lead to on this machine, as those that are installed say."""
    found: set[tuple[str, str]] = set()

    def follow(texts: list[str], extra: str) -> None:
        for requirement in map(Requirement, texts):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                name = canonicalize_name(requirement.name)
                for inner in {"", *requirement.extras} - {extra for known, extra in found if known == name}:
                    found.add((name, inner))
                    follow(requires(name) or [], inner)

    follow(requirements, "")
    return {name for name, _ in found}


@pytest.mark.parametrize("service", ["chassis", *SERVICES])
def test_a_part_pins_what_the_lock_pins(service):
    part, whole = pins(f"locks/{service}.txt"), pins("requirements.lock")
    assert part == {pin: whole.get(pin) for pin in part}
    assert all(part.values())


@pytest.mark.parametrize("service", SERVICES)
def test_a_part_holds_all_that_its_service_needs_beside_the_chassis(service):
    chassis, part = names("locks/chassis.txt"), names(f"locks/{service}.txt")
    assert not chassis & part
    assert needed(PROJECT["dependencies"] + PROJECT["optional-dependencies"][service]) <= chassis | part


@pytest.mark.parametrize("service", GPU_SERVICES)
def test_on_a_gpu_only_the_engine_and_its_libraries_differ(service):
    cpu, gpu = pins(f"locks/{service}.txt"), pins(f"locks/{service}-gpu.txt")
    more = set(gpu) - set(cpu)
    assert {pin: gpu[pin] for pin in set(gpu) - more} == {pin: cpu[pin] for pin in set(gpu) - more}
    assert all(pin.startswith(("nvidia-", "onnxruntime-gpu==")) for pin in more)
    if service == "speech":  # CTranslate2 4.8 opens libcublas.so.12; its other engines stay on the CPU
        assert any(pin.startswith("nvidia-cublas-cu12==12.") for pin in more)
        assert set(cpu) <= set(gpu)
    else:
        (engine,) = set(cpu) - set(gpu)
        assert engine.startswith("onnxruntime==")
        assert engine.replace("onnxruntime", "onnxruntime-gpu") in more
        assert {"nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-cufft"} <= {
            pin.split("==")[0] for pin in more
        }
