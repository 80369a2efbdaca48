"""The models of a process: loaded by its profile, found by task and name."""

import asyncio
import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from servekit.models.catalogue import ModelSpec, Service, models_of
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import FailedPrecondition, NotFound
from servekit.scheduling.scheduler import Scheduler

log = logging.getLogger(__name__)

AnyScheduler = TypeVar("AnyScheduler", bound=Scheduler)


class Models(Generic[AnyScheduler]):
    """The schedulers of one task, the default first."""

    def __init__(self, schedulers: Iterable[AnyScheduler]) -> None:
        self._schedulers = list(schedulers)
        self._by_name = {
            name: scheduler for scheduler in self._schedulers for name in (scheduler.spec.id, *scheduler.spec.aliases)
        }

    def __iter__(self) -> Iterator[AnyScheduler]:
        return iter(self._schedulers)

    def get(self, name: str, *, field: str = "model") -> AnyScheduler:
        """The scheduler of a model id or alias; of the default where the name is empty.

        Raises:
            NotFound: No such model is loaded.
        """
        if not name and self._schedulers:
            return self._schedulers[0]
        if name not in self._by_name:
            loaded = ", ".join(scheduler.spec.id for scheduler in self._schedulers) or "none"
            raise NotFound(f"no model {name!r} is loaded; there is {loaded}", field=field)
        return self._by_name[name]


def specs(settings: ProcessSettings, service: Service, telemetry: Telemetry) -> tuple[ModelSpec, ...]:
    """The specs of the models that this process is to load, checked before anything is loaded.

    From here on `polyphony_model_ready` says that they are not ready yet.

    Raises:
        FailedPrecondition: Weights are missing, or the models need more memory than is allowed.
    """
    rows = models_of(settings.profile, service, settings.catalogue)
    for spec in rows:
        telemetry.model_ready.labels(spec.id).set(False)
    needed = sum(spec.memory_mb for spec in rows)
    if settings.max_model_memory_mb and needed > settings.max_model_memory_mb:
        raise FailedPrecondition(
            f"the models of {service} need {needed} MiB together, the limit is {settings.max_model_memory_mb} MiB",
            field="max_model_memory_mb",
        )
    for spec in rows:
        for file in spec.files:
            if not (spec.folder(settings.models_dir) / file.path).is_file():
                raise FailedPrecondition(
                    f"{spec.id} has no {file.path} in {settings.models_dir}: run `polyphony models pull {spec.id}`"
                )
    return tuple(spec.model_copy(update={"options": {**spec.options, **settings.model_options}}) for spec in rows)


async def load(spec: ModelSpec, settings: ProcessSettings, runtimes: Mapping[str, str], telemetry: Telemetry) -> Any:
    """Load one model, beside the event loop, with the function that its spec's `runtime` names.

    Args:
        spec: The model.
        settings: Of this process; handed to the loader.
        loaders: `module:function` by loader name; the module is imported only now, so that a
            profile without an engine never imports it.
        telemetry: Where it is said how long it took.

    Raises:
        FailedPrecondition: This service has no such loader.
    """
    if spec.runtime not in runtimes:
        raise FailedPrecondition(f"{spec.id} wants the loader {spec.runtime!r}; there is {', '.join(runtimes)}")
    module, _, function = runtimes[spec.runtime].partition(":")
    log.info("loading %s", spec.id)
    with telemetry.loading(spec.id):
        return await asyncio.to_thread(lambda: getattr(importlib.import_module(module), function)(spec, settings))
