"""Networks that are made of a model's weights: once, and kept beside these."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def exported(weights: Path, version: int, build: Callable[[], bytes]) -> Path | bytes:
    """The ONNX file of these weights, made when it is missing or they have changed; its bytes where their folder may
    only be read.

    Args:
        weights: The file of weights.
        version: Of what builds it; files of other versions are made anew.
        build: Makes it.
    """
    folder = weights.parent
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / f"model-{version}-{digest[:16]}.onnx"
    if not target.exists():
        made = build()
        if not os.access(folder, os.W_OK):
            return made
        _write(target, made)
        for stale in set(folder.glob("model-*.onnx")) - {target}:
            stale.unlink(missing_ok=True)
    return target


def _write(target: Path, data: bytes) -> None:
    """All of the file or none of it, whoever else writes it at the same time."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)
