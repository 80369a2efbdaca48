"""The synthesizers of the catalogue: their languages, and the profiles with voice cloning."""

from pathlib import Path

from servekit.models.catalogue import ModelSpec, model, names, profile
from services.speech.synthesis.scripts import unreadable


class CatalogueVoices:
    """The synthesizers of the catalogue, by the options `languages` and `clones` of a spec.

    Args:
        catalogue: A folder that extends the catalogue.
    """

    def __init__(self, catalogue: Path | None) -> None:
        self._catalogue = catalogue

    def advice(self, letter: str) -> str:
        """A text that names the models of the catalogue that support a letter."""
        supporting = [
            spec.id
            for spec in self._specs()
            if any(not unreadable(letter, language) for language in spec.options.get("languages", ()))
        ]
        return f"models that support it: {', '.join(supporting) or 'none'}"

    def cloning_profiles(self) -> list[str]:
        """The profiles with a model for voice cloning, without fakes."""
        specs = [spec for spec in self._specs() if not spec.runtime.startswith("fake-")]
        cloning = {spec.id for spec in specs if spec.options.get("clones")}
        rows = {name: profile(name, self._catalogue) for name in names("profiles", self._catalogue)}
        return [
            name
            for name, row in rows.items()
            if "speech" in row.services and cloning & set(row.services["speech"].models)
        ]

    def _specs(self) -> list[ModelSpec]:
        specs = (model(name, self._catalogue) for name in names("models", self._catalogue))
        return [spec for spec in specs if spec.task == "synthesize"]
