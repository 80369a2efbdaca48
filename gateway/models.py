"""The models that requests may name, by the ids and aliases of the catalogue.

Every model that does a caller's work is resolved here, which checks that the caller's API key may use it. A request to
a service names the model, since the service's own choice would not be checked.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from gateway.auth import Caller
from servekit.echo import MAX_NAME, cut
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
        if len(name) > MAX_NAME or name not in self._by_name:
            raise NotFound(f"no model {cut(name)!r}; /v1/models lists the models", field="model")
        return self._by_name[name]

    def has(self, task: str) -> bool:
        """Whether the profile has a model for a task."""
        return any(spec.task == task for spec in self.specs)

    def resolve(self, task: str, name: str, caller: Caller) -> str:
        """The id of the model that `name` stands for; an empty name stands for the default model of the task.

        Raises:
            NotFound: No model that the caller may use has this name.
            InvalidArgument: The model is for another task.
            Unimplemented: The profile has no model for the task.
        """
        spec = self.get(name) if name else self._of((task,))[0]
        caller.require(spec.id)
        if spec.task != task:
            raise InvalidArgument(
                f"the model must be for the task {task}, got {spec.id!r} for {spec.task}", field="model"
            )
        return spec.id

    def resolve_any(self, tasks: Collection[str], name: str, caller: Caller) -> str:
        """The id of the model that `name` stands for, which does one of these tasks; empty to let the service choose.

        An empty name lets the service choose, by a language for instance, if the caller may use every model that it
        could choose. It stands for the only model that the caller may use if there is one.

        Raises:
            InvalidArgument: The model is for another task, or the caller may use several of the models, but not all,
                and must name one.
            ServeError: As `resolve`.
        """
        specs = self._of(tasks)
        if name:
            task = self.get(name).task
            return self.resolve(task if task in tasks else specs[0].task, name, caller)
        allowed = [spec.id for spec in specs if caller.sees(spec.id)]
        if len(allowed) == len(specs):
            return ""
        if len(allowed) > 1:
            raise InvalidArgument(f"model must be one of {', '.join(allowed)} for this API key", field="model")
        return self.resolve(specs[0].task, "", caller) if not allowed else allowed[0]

    def first(self, task: str, caller: Caller) -> str:
        """The id of the first model of a task that the caller may use.

        Raises:
            ServeError: As `resolve`.
        """
        name = next((spec.id for spec in self._of((task,)) if caller.sees(spec.id)), "")
        return self.resolve(task, name, caller)

    def require(self, task: str, caller: Caller) -> None:
        """Check that the caller may use every model of a task, among which the service chooses; there may be none.

        Raises:
            NotFound: The caller may not use one of them.
        """
        for spec in self.specs:
            if spec.task == task:
                caller.require(spec.id)

    def translator(self, name: str, caller: Caller) -> str:
        """The id of the model that translates speech: the one with the id `name`, or else the first that can.

        An alias such as `whisper-1` may stand for a model that cannot translate; then another one does.

        Raises:
            ServeError: As `resolve`.
        """
        spec = self.get(name) if name else self._of(("transcribe",))[0]
        if spec.task == "transcribe" and name != spec.id and not _translates(spec):
            able = (other.id for other in self.specs if other.task == "transcribe" and _translates(other))
            name = next(able, name)  # where none can, the service refuses the model
        return self.resolve("transcribe", name, caller)

    def _of(self, tasks: Collection[str]) -> list[ModelSpec]:
        """The models of these tasks, the default first.

        Raises:
            Unimplemented: The profile has none.
        """
        if found := [spec for task in tasks for spec in self.specs if spec.task == task]:
            return found
        raise Unimplemented(f"no model for the task {' or '.join(tasks)} in this profile", field="model")


def _translates(spec: ModelSpec) -> bool:
    return bool(spec.options.get("translates", True))
