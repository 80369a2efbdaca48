"""One loaded model: its scheduler, and the networks that the Open Inference Protocol may call."""

import asyncio
import importlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from servekit.errors import FailedPrecondition
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.scheduler import Scheduler
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.task import TaskSpec

log = logging.getLogger(__name__)


class Servable(Protocol):
    """The lifecycle of a scheduler, or of a model that has none."""

    spec: ModelSpec

    @property
    def ready(self) -> bool:
        """Whether the model answers requests now."""

    async def start(self) -> None:
        """Warm the model and begin to take requests."""

    async def close(self) -> None:
        """Let running requests end, and free the model's memory."""


AnyServable = TypeVar("AnyServable", bound=Servable)


@dataclass(frozen=True, slots=True)
class LoadedModel(Generic[AnyServable]):
    """A model in memory.

    Attributes:
        scheduler: The model's scheduler; an `Unscheduled` where the task has none.
        networks: The schedulers of its networks, by their names in the Open Inference Protocol.
    """

    scheduler: AnyServable
    networks: Mapping[str, TensorScheduler] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Servable]:
        yield self.scheduler
        yield from self.networks.values()

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return self.scheduler.spec

    def by_name(self) -> dict[str, Servable]:
        """Its schedulers by their names in the Open Inference Protocol."""
        return {self.spec.id: self.scheduler, **self.networks}

    @property
    def ready(self) -> bool:
        """Whether the model and its networks answer requests now."""
        return all(servable.ready for servable in self)

    async def start(self, telemetry: Telemetry) -> None:
        """Warm the model and begin to take requests.

        Raises:
            ServeError: The model does not start.
        """
        begun: list[Servable] = []
        try:
            for servable in self:
                begun.append(servable)
                await servable.start()
        except BaseException:
            for servable in begun:  # including the one that failed, whose model is in memory
                await servable.close()
            raise
        if isinstance(self.scheduler, Scheduler):  # not those of networks: they run on the engines of this model
            telemetry.engines.labels(self.scheduler.spec.id).set(self.scheduler.engines)

    async def close(self) -> None:
        """Let running requests end, and free the model's memory."""
        for servable in self:
            await servable.close()


async def load_model(
    spec: ModelSpec, task: TaskSpec, settings: ProcessSettings, telemetry: Telemetry
) -> LoadedModel[Any]:
    """Load one model on a worker thread, by the runtime that its spec names.

    Raises:
        FailedPrecondition: The task has no such runtime, or its model does not implement the task's port.
        Unimplemented: The runtime does not run on this machine.
    """
    if spec.runtime not in task.runtimes:
        raise FailedPrecondition(
            f"the runtime of {spec.id} must be one of {', '.join(task.runtimes)}, got {spec.runtime!r}"
        )
    module, _, function = task.runtimes[spec.runtime].partition(":")
    log.info("loading %s", spec.id)
    with telemetry.loading(spec.id):
        model: Any = await asyncio.to_thread(lambda: getattr(importlib.import_module(module), function)(spec, settings))
    implements_port = isinstance(model, task.port)
    if not implements_port:
        raise FailedPrecondition(f"the model of the runtime {spec.runtime!r} does not implement {task.port.__name__}")
    networks = {}
    for name, network in model.networks.items() if task.network_threads else ():
        # A network that is the whole model is called by the model's own name; its metrics have a name of their own.
        named = spec.model_copy(update={"id": f"{spec.id}-{name or 'network'}"})
        networks[named.id if name else spec.id] = TensorScheduler(named, [network] * task.network_threads, telemetry)
    return LoadedModel(task.schedule(spec, model, telemetry), networks)
