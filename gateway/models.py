"""Which models callers may ask for, by the ids and aliases of the catalogue."""

from collections.abc import Iterable
from pathlib import Path

from gateway.auth import Caller
from servekit.models.catalogue import ModelSpec, profile_models
from servekit.rpc.errors import InvalidArgument, NotFound, Unimplemented


class ModelDirectory:
    """The models of one profile.

    Args:
        specs: Their specs; the first of a task is its default.
    """

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self.specs = tuple(specs)
        self._by_name = {name: spec for spec in self.specs for name in (spec.id, *spec.aliases)}

    @classmethod
    def of_profile(cls, profile: str, extra: Path | None) -> "ModelDirectory":
        """The models of a profile of the catalogue, or of the folder that is added to it.

        Raises:
            NotFound: There is no such profile.
        """
        return cls(profile_models(profile, extra))

    def get(self, name: str) -> ModelSpec:
        """The model of an id or alias.

        Raises:
            NotFound: There is none.
        """
        if name not in self._by_name:
            raise NotFound(f"there is no model {name!r}; /v1/models lists those there are", field="model")
        return self._by_name[name]

    def default(self, task: str) -> ModelSpec:
        """The model that does a task unless the caller names another.

        Raises:
            Unimplemented: No model of the profile does it.
        """
        for spec in self.specs:
            if spec.task == task:
                return spec
        raise Unimplemented(f"this fleet has no model that can {task.replace('_', ' ')}", field="model")

    def resolve(self, task: str, name: str, caller: Caller) -> str:
        """The id of the model that `caller` means by `name`, empty for the task's default.

        Raises:
            NotFound: There is no such model for this caller.
            InvalidArgument: The model does something else.
            Unimplemented: No model of the profile does it.
        """
        spec = self.get(name) if name else self.default(task)
        caller.require(spec.id)
        if spec.task != task:
            raise InvalidArgument(
                f"the model {spec.id!r} does {spec.task.replace('_', ' ')}, not {task.replace('_', ' ')}", field="model"
            )
        return spec.id

    def translator(self, name: str, caller: Caller) -> str:
        """The id of the transcriber that is to translate: the one whose id `name` is, or the first that can.

        An alias such as `whisper-1` is a name for what the profile has, and keeps no caller from a translation.

        Raises:
            ServeError: As `resolve`.
        """
        spec = self.get(name) if name else self.default("transcribe")
        if spec.task == "transcribe" and name != spec.id and not _translates(spec):
            able = (other.id for other in self.specs if other.task == "transcribe" and _translates(other))
            name = next(able, name)  # where none is, the model says so itself
        return self.resolve("transcribe", name, caller)


def _translates(spec: ModelSpec) -> bool:
    return bool(spec.options.get("translates", True))
