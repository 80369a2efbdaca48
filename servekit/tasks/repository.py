"""The models of a process, found by task and name."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic

from servekit.echo import MAX_NAME, cut
from servekit.errors import NotFound
from servekit.ops.telemetry import Telemetry
from servekit.tasks.loaded import AnyServable, LoadedModel, Servable
from servekit.tasks.on_demand import OnDemandModel


class Models(Generic[AnyServable]):
    """The models of one task, by the names that requests use.

    Args:
        schedulers: The schedulers of models that are in memory from the start, the default first.
        on_demand: Models that are loaded at first use, the default first.
    """

    def __init__(
        self, schedulers: Iterable[AnyServable] = (), on_demand: Iterable[OnDemandModel[AnyServable]] = ()
    ) -> None:
        self._schedulers = list(schedulers)
        self._models: list[AnyServable | OnDemandModel[AnyServable]] = [*self._schedulers, *on_demand]
        self._by_name = {name: model for model in self._models for name in (model.spec.id, *model.spec.aliases)}

    def __iter__(self) -> Iterator[AnyServable]:
        """Iterate over the schedulers of models that are in memory from the start."""
        return iter(self._schedulers)

    def get(self, name: str = "", *, field: str = "model") -> AnyServable:
        """The scheduler of a model id or alias, or of the default where the name is empty.

        Raises:
            NotFound: The task has no such model.
            RuntimeError: The task's models are loaded at first use: `acquire` is the way to them.
        """
        model = self._find(name, field)
        if isinstance(model, OnDemandModel):
            raise RuntimeError(f"{model.spec.id} is loaded at first use: acquire it")
        return model

    @asynccontextmanager
    async def acquire(self, name: str = "", *, field: str = "model") -> AsyncIterator[AnyServable]:
        """Hold the scheduler of a model, which is in memory until the context ends; the names are those of `get`.

        Raises:
            NotFound: The task has no such model.
            Unavailable: The model cannot be loaded before the deadline.
        """
        model = self._find(name, field)
        if isinstance(model, OnDemandModel):
            async with model.acquire() as loaded:
                yield loaded.scheduler
        else:
            yield model

    def _find(self, name: str, field: str) -> AnyServable | OnDemandModel[AnyServable]:
        if not name and self._models:
            return self._models[0]
        if len(name) > MAX_NAME or name not in self._by_name:
            known = ", ".join(model.spec.id for model in self._models) or "none"
            raise NotFound(f"no model {cut(name)!r} for this task; available: {known}", field=field)
        return self._by_name[name]


class ModelRepository:
    """All models of a process: `repository["detect"]` has those of a task.

    Args:
        models: The models, the default of each task first.
        tasks: Tasks that the process has, whether or not a model does them.
    """

    def __init__(self, models: Iterable[LoadedModel[Any] | OnDemandModel[Any]] = (), tasks: Iterable[str] = ()) -> None:
        models = list(models)
        self._loaded = [model for model in models if isinstance(model, LoadedModel)]
        self._on_demand = [model for model in models if isinstance(model, OnDemandModel)]
        self._servables = {name: servable for model in self._loaded for name, servable in model.by_name().items()}
        self._tasks = {
            task: Models(
                [model.scheduler for model in self._loaded if model.spec.task == task],
                [model for model in self._on_demand if model.spec.task == task],
            )
            for task in (*tasks, *(model.spec.task for model in models))
        }

    def __getitem__(self, task: str) -> Models[Any]:
        """The models of a task."""
        return self._tasks[task]

    @property
    def ready(self) -> bool:
        """Whether every model that is in memory from the start answers requests now."""
        return all(model.ready for model in self._loaded)

    async def start(self, telemetry: Telemetry) -> None:
        """Warm the models that are in memory from the start.

        Raises:
            ServeError: A model does not start.
        """
        for model in self._loaded:
            await model.start(telemetry)

    async def close(self) -> None:
        """Let running work end, and free the memory of every model."""
        for loaded in self._loaded:
            await loaded.close()
        for model in self._on_demand:
            await model.close()

    # By the names of the Open Inference Protocol: models and networks alike.

    def readiness(self) -> dict[str, bool]:
        """Whether each model and network answers requests now, by its name."""
        known = {name: servable.ready for name, servable in self._servables.items()}
        for model in self._on_demand:
            known[model.spec.id] = model.ready
            if model.loaded is not None:
                known |= {name: servable.ready for name, servable in model.loaded.by_name().items()}
        return known

    @asynccontextmanager
    async def acquire(self, name: str) -> AsyncIterator[Servable]:
        """Hold the scheduler of a model or network, which is in memory until the context ends.

        Raises:
            NotFound: The process has no model or network of that name.
            Unavailable: The model cannot be loaded before the deadline.
        """
        if len(name) > MAX_NAME:
            raise self._not_found(name)
        if name in self._servables:
            yield self._servables[name]
            return
        # The networks of a model that is not in memory are not known, but their names begin with its id.
        candidates = [model for model in self._on_demand if f"{name}-".startswith(f"{model.spec.id}-")]
        if candidates:
            async with max(candidates, key=lambda model: len(model.spec.id)).acquire() as loaded:
                if name in loaded.by_name():
                    yield loaded.by_name()[name]
                    return
        raise self._not_found(name)

    def _not_found(self, name: str) -> NotFound:
        return NotFound(f"no model {cut(name)!r}; available: {', '.join(self.readiness())}", field="model_name")
