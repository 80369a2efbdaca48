"""A row of a service's task table: what the chassis needs to know of a task to serve its models."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.step import StepScheduler
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.unscheduled import Unscheduled

log = logging.getLogger(__name__)


class SchedulerConfig(Protocol):
    """The kind of a task's scheduler, and its settings."""

    @property
    def cost_unit(self) -> str:
        """The unit of cost, such as "megapixels"."""

    def build(self, spec: ModelSpec, model: Any, telemetry: Telemetry) -> Any:
        """Build the scheduler of one loaded model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Dynamic batching, for models that answer a request in one run.

    Attributes:
        cost_unit: The unit of cost, such as "megapixels".
        max_batch_cost: The largest cost of one run; 0 runs one request at a time.
        max_queue_cost: The largest cost that may be queued.
        max_sessions: The most concurrent sessions, each of which holds memory.
        threads: The number of threads that run the model.
        prepare_thread: Whether requests are prepared on a thread of their own while a batch runs.
    """

    cost_unit: str
    max_batch_cost: float
    max_queue_cost: float
    max_sessions: int = sys.maxsize
    threads: int = 1
    prepare_thread: bool = True

    def build(self, spec: ModelSpec, model: Any, telemetry: Telemetry) -> BatchScheduler[Any, Any]:
        """See `SchedulerConfig`."""
        return BatchScheduler(
            spec,
            [model] * self.threads,
            telemetry,
            max_batch_cost=self.max_batch_cost,
            max_queue_cost=self.max_queue_cost,
            max_sessions=self.max_sessions,
            prepares=self.prepare_thread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """One slot for each request until its last event, for models that stream their answers.

    Attributes:
        cost_unit: The unit of cost, such as "tokens".
        max_queue_cost: The largest cost that may be queued.
        slots: The number of requests that run concurrently, each on its own thread.
    """

    cost_unit: str
    max_queue_cost: float
    slots: int

    def build(self, spec: ModelSpec, model: Any, telemetry: Telemetry) -> StreamScheduler[Any]:
        """See `SchedulerConfig`."""
        return StreamScheduler(spec, [model] * self.slots, telemetry, max_queue_cost=self.max_queue_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """Continuous batching, for models that work in steps.

    Attributes:
        cost_unit: The unit of cost, such as "megapixel steps".
        max_batch_cost: The largest cost of one step.
        max_queue_cost: The largest cost that may be queued.
    """

    cost_unit: str
    max_batch_cost: float
    max_queue_cost: float

    def build(self, spec: ModelSpec, model: Any, telemetry: Telemetry) -> StepScheduler[Any, Any]:
        """See `SchedulerConfig`."""
        return StepScheduler(
            spec, [model], telemetry, max_batch_cost=self.max_batch_cost, max_queue_cost=self.max_queue_cost
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task of a service.

    Attributes:
        name: The task's name, as entries of the catalogue state it.
        port: The runtime-checkable protocol that a model of the task implements.
        runtimes: `module:function` of what loads a model, by the runtime's name in the catalogue. The function takes
            the model's spec and the process's settings. Its module is imported at the load, so that a profile without
            an engine never imports that engine.
        scheduler: The scheduler of each model, or a function that chooses it by the loaded model; None for models that
            are called directly, without a queue.
        network_threads: Threads that run each of the model's `networks` for the Open Inference Protocol; 0 where they
            are not exposed.
        load: When a model is loaded: at the start of the process, or at the first request that needs it. What is
            loaded at first use is unloaded, least recently used first, where another needs its memory.
        skip_unimplemented: Whether a model whose runtime raises `Unimplemented` at the start, because it does not run
            on this machine, is skipped.
    """

    name: str
    port: type
    runtimes: Mapping[str, str]
    scheduler: SchedulerConfig | Callable[[Any], SchedulerConfig] | None
    network_threads: int = 0
    load: Literal["start", "first_use"] = "start"
    skip_unimplemented: bool = False

    def schedule(self, spec: ModelSpec, model: Any, telemetry: Telemetry) -> Any:
        """The scheduler of a loaded model."""
        if self.scheduler is None:
            return Unscheduled(spec, model, telemetry)
        config = self.scheduler(model) if callable(self.scheduler) else self.scheduler
        log.info("%s is scheduled by %s, costs in %s", spec.id, type(config).__name__, config.cost_unit)
        return config.build(spec, model, telemetry)
