"""Who reads what: the catalogue's voices by the letters that they know, and those that can take on another's voice."""

from pathlib import Path

from servekit.models.catalogue import ModelSpec, model, names, profile
from services.speech.synthesis.scripts import unreadable


class CatalogueVoices:
    """What the catalogue says of models that speak: `options.languages` of a spec, and `options.clones`.

    Args:
        catalogue: A folder of rows beside the catalogue's own.
    """

    def __init__(self, catalogue: Path | None) -> None:
        self._catalogue = catalogue

    def advice(self, letter: str) -> str:
        """Which models of the catalogue read a letter, for a caller whose voice does not."""
        catalogue_voices = [
            spec.id
            for spec in self._specs()
            if any(not unreadable(letter, language) for language in spec.options.get("languages", ()))
        ]
        return f"{', '.join(catalogue_voices)} can" if catalogue_voices else "no model of the catalogue can"

    def cloning_profiles(self) -> list[str]:
        """The profiles in which somebody's voice can be spoken with, but those of fakes."""
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
