"""The models that requests may name, by the ids and aliases of the catalogue."""

from collections.abc import Iterable
from pathlib import Path

from gateway.auth import Caller
from servekit.errors import InvalidArgument, NotFound, Unimplemented
from servekit.models.catalogue import ModelSpec, profile_models


class ModelDirectory:
    """The models of one profile.

    Args:
        specs: The specs of the models; the first of a task is its default.
    """

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self.specs = tuple(specs)
        self._by_name = {name: spec for spec in self.specs for name in (spec.id, *spec.aliases)}

    @classmethod
    def of_profile(cls, profile: str, extra: Path | None) -> "ModelDirectory":
        """The models of a profile of the catalogue, or of the folder that is added to it.

        Raises:
            NotFound: The catalogue has no such profile.
        """
        return cls(profile_models(profile, extra))

    def get(self, name: str) -> ModelSpec:
        """The model of an id or alias.

        Raises:
            NotFound: No model has this name.
        """
        if name not in self._by_name:
            raise NotFound(f"no model {name!r}; /v1/models lists the models", field="model")
        return self._by_name[name]

    def default(self, task: str) -> ModelSpec:
        """The default model of a task.

        Raises:
            Unimplemented: The profile has no model for the task.
        """
        for spec in self.specs:
            if spec.task == task:
                return spec
        raise Unimplemented(f"no model for the task {task} in this profile", field="model")

    def resolve(self, task: str, name: str, caller: Caller) -> str:
        """The id of the model that `name` stands for; an empty name stands for the default model of the task.

        Raises:
            NotFound: No model that the caller may use has this name.
            InvalidArgument: The model is for another task.
            Unimplemented: The profile has no model for the task.
        """
        spec = self.get(name) if name else self.default(task)
        caller.require(spec.id)
        if spec.task != task:
            raise InvalidArgument(
                f"the model must be for the task {task}, got {spec.id!r} for {spec.task}", field="model"
            )
        return spec.id

    def translator(self, name: str, caller: Caller) -> str:
        """The id of the model that translates speech: the one with the id `name`, or else the first that can.

        An alias such as `whisper-1` may stand for a model that cannot translate; then another one does.

        Raises:
            ServeError: As `resolve`.
        """
        spec = self.get(name) if name else self.default("transcribe")
        if spec.task == "transcribe" and name != spec.id and not _translates(spec):
            able = (other.id for other in self.specs if other.task == "transcribe" and _translates(other))
            name = next(able, name)  # where none can, the service refuses the model
        return self.resolve("transcribe", name, caller)


def _translates(spec: ModelSpec) -> bool:
    return bool(spec.options.get("translates", True))
