"""Networks that are exported from a model's weights once, and stored next to the weights."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def exported(weights: Path, version: int, build: Callable[[], bytes]) -> Path | bytes:
    """Return the ONNX file of these weights, exported if it is missing or the weights have changed; its bytes where
    the folder is read-only.

    Args:
        weights: The file of weights.
        version: The version of the exporter; files of other versions are exported again.
        build: Exports the network.
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
    """Write the file atomically: other processes may write it at the same time."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)
