"""Loading the models that a profile has for a process, by the rows of its task table."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from servekit.errors import FailedPrecondition, Unimplemented
from servekit.models.catalogue import ModelSpec, models_of
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.tasks.loaded import LoadedModel, load_model
from servekit.tasks.on_demand import MemoryBudget, OnDemandModel
from servekit.tasks.repository import ModelRepository
from servekit.tasks.task import TaskSpec

log = logging.getLogger(__name__)


async def load_models(tasks: Sequence[TaskSpec], settings: ProcessSettings, telemetry: Telemetry) -> ModelRepository:
    """Check every model of the profile, then load those whose task loads at the start, one after another.

    Until such a model is warm, `polyphony_model_ready` is 0 for it.

    Args:
        tasks: The process's task table.
        settings: The process's settings; passed to the runtimes.
        telemetry: Where readiness and the time of each load are reported.

    Raises:
        FailedPrecondition: A model has no row in the table or no such runtime, weights are missing, or the models
            need more memory than is allowed.
    """
    rows = {task.name: task for task in tasks}
    specs = models_of(settings.profile, settings.process, settings.catalogue)
    for spec in specs:
        _check_task(spec, rows, settings)
        _check_weights(spec, settings)
    for spec in specs:
        if rows[spec.task].load == "start":
            telemetry.model_ready.labels(spec.id).set(False)
    budget = _budget(specs, rows, settings)
    models: list[LoadedModel[Any] | OnDemandModel[Any]] = []
    for spec in specs:
        task = rows[spec.task]
        adapted = spec.model_copy(update={"options": {**spec.options, **settings.model_options}})
        load = partial(load_model, adapted, task, settings, telemetry)
        if task.load == "first_use":
            models.append(OnDemandModel(adapted, load, budget, telemetry))
            continue
        try:
            models.append(await load())
        except Unimplemented as error:
            if not task.skip_unimplemented:
                raise
            log.warning("skipping model %s: %s", spec.id, error.message)
            telemetry.remove_model(spec.id)
    return ModelRepository(models, rows)


def _check_task(spec: ModelSpec, rows: dict[str, TaskSpec], settings: ProcessSettings) -> None:
    if spec.task not in rows:
        raise FailedPrecondition(
            f"the task of {spec.id} must be one of {', '.join(rows)}, which {settings.process} does, got {spec.task!r}"
        )


def _check_weights(spec: ModelSpec, settings: ProcessSettings) -> None:
    for file in spec.files:
        if not (spec.folder(settings.models_dir) / file.path).is_file():
            raise FailedPrecondition(
                f"{spec.id} has no {file.path} in {settings.models_dir}: run `polyphony models pull {spec.id}`"
            )


def _budget(specs: Sequence[ModelSpec], rows: dict[str, TaskSpec], settings: ProcessSettings) -> MemoryBudget:
    """The budget of first-use models: the memory that those loaded at the start leave."""
    limit = settings.max_model_memory_mb
    if not limit:
        return MemoryBudget(math.inf)
    start = sum(spec.memory_mb for spec in specs if rows[spec.task].load == "start")
    largest = max((spec.memory_mb for spec in specs if rows[spec.task].load == "first_use"), default=0)
    if start + largest > limit:
        raise FailedPrecondition(
            f"the models of {settings.process} must fit in {limit} MiB together, got {start + largest} MiB",
            field="max_model_memory_mb",
        )
    return MemoryBudget(limit - start)
