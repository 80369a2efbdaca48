"""Pages and deployments name settings, metrics and classes that exist."""

import re
from collections.abc import Mapping
from pathlib import Path

from fleet.settings import FleetSettings
from gateway.settings import GatewaySettings
from servekit.ops.settings import ProcessSettings
from services.generation.settings import GenerationSettings
from services.retrieval.settings import RetrievalSettings
from services.speech.settings import SpeechSettings
from services.vision.settings import VisionSettings

ROOT = Path(__file__).parents[2]
PAGES = {path: path.read_text() for path in [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]}
# A variable that no process reads is ignored without a warning.
DEPLOYMENTS = {
    path: path.read_text()
    for path in [
        *(ROOT / name for name in ("Dockerfile", "Makefile", "skaffold.yaml")),
        *ROOT.glob("compose*.yaml"),
        *(path for path in (ROOT / "charts").rglob("*") if path.suffix in {".yaml", ".tpl", ".md"}),
        *(ROOT / "examples").rglob("*.*"),
    ]
    if path.is_file()
}
PROCESSES: dict[str, type[ProcessSettings]] = {
    "FLEET": FleetSettings,
    "GATEWAY": GatewaySettings,
    "GENERATION": GenerationSettings,
    "RETRIEVAL": RetrievalSettings,
    "SPEECH": SpeechSettings,
    "VISION": VisionSettings,
}
FOLDERS = [
    "benchmarks",
    "capacity",
    "charts",
    "client",
    "dashboards",
    "drill",
    "evaluation",
    "fleet",
    "gateway",
    "protos",
    "servekit",
    "services",
]
SOURCE = " ".join(
    path.read_text()
    for folder in FOLDERS
    for pattern in ("*.py", "*.proto", "*.yaml")
    for path in (ROOT / folder).rglob(pattern)
    if "gen" not in path.parts
)


def variables() -> set[str]:
    """The environment variables of all settings."""
    return {
        f"POLYPHONY_{prefix}{field.upper()}"
        for process, settings in PROCESSES.items()
        for field in settings.model_fields
        for prefix in ("", f"{process}_")
    }


def mentioned(pattern: str, texts: Mapping[Path, str] = PAGES) -> dict[str, str]:
    """All matches of a pattern in the texts, each with the name of a file that has it."""
    return {name: path.name for path, text in texts.items() for name in re.findall(pattern, text)}


def test_settings_exist() -> None:
    for texts in (PAGES, DEPLOYMENTS):
        named = mentioned(r"\bPOLYPHONY_[A-Z0-9_]*[A-Z0-9]\b", texts)
        assert len(named) > 20
        assert {name: page for name, page in named.items() if name not in variables()} == {}


def test_metrics_exist() -> None:
    named = mentioned(r"\bpolyphony_[a-z_]+(?=\b)")
    assert len(named) > 5
    assert {name: page for name, page in named.items() if name not in SOURCE} == {}


def test_words_of_the_glossary_exist() -> None:
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|", (ROOT / "docs/reference/glossary.md").read_text(), re.MULTILINE)
    words = {word for row in rows for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", row)}
    assert len(words) > 50
    assert {word for word in words if not re.search(rf"\b{word}\b", SOURCE)} == set()
