"""The steps of a pipeline: the start, the duration and the outcome of each."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from gateway.schemas.report import Step
from servekit.context import CancellationToken, current, enter
from servekit.errors import DeadlineExceeded, Overloaded, ServeError
from servekit.ops.telemetry import Telemetry

Result = TypeVar("Result")


class StepRecorder:
    """Records the steps of one request.

    Args:
        telemetry: Where their durations are counted.
        on_end: Called with each step as soon as it has ended, whether it succeeded or was left out.

    Attributes:
        steps: All steps, in the order of their starts.
        failures: The errors of the steps that were left out.
    """

    def __init__(self, telemetry: Telemetry, on_end: Callable[[Step], None] = lambda _: None) -> None:
        self._telemetry = telemetry
        self._on_end = on_end
        self._began = time.monotonic()
        self.steps: list[Step] = []
        self.failures: list[ServeError] = []

    @property
    def seconds(self) -> float:
        """The seconds since the request began."""
        return time.monotonic() - self._began

    @property
    def degraded(self) -> list[str]:
        """The names of the steps that were left out."""
        return [step.name for step in self.steps if step.error]

    @contextmanager
    def step(self, name: str, model: str) -> Iterator[Step]:
        """Record a step, whatever its outcome; one that is cancelled before the deadline is not counted."""
        step = Step(name, model, self.seconds)
        self.steps.append(step)
        outcome = ""
        try:
            yield step
            outcome = "degraded" if step.error else "cached" if step.cached else "ok"
        except BaseException as error:
            cut_short = isinstance(error, asyncio.CancelledError | GeneratorExit)
            outcome = "" if cut_short and current().cancellation.remaining_seconds() else "failed"
            raise
        finally:
            step.seconds = self.seconds - step.start
            if outcome:
                kind, _, _ = name.partition(" ")  # without its number
                times = self._telemetry.pipeline_step_duration.labels(kind, outcome)
                times.observe(step.seconds, self._telemetry.exemplar())
                self._telemetry.event(name, outcome=outcome, model=model, seconds=step.seconds)
            if outcome not in ("", "failed"):
                self._on_end(step)

    def mark_degraded(self, step: Step, error: ServeError) -> None:
        """Record that a step failed and that the request continues without it.

        Raises:
            ServeError: The error itself, if the caller caused it.
        """
        if error.http < 500 and not isinstance(error, Overloaded) and error.http != 499:
            raise error
        step.error = error.message
        self.failures.append(error)

    async def run_optional(
        self, name: str, model: str, until: float, work: Callable[[Step], Awaitable[Result]]
    ) -> Result | None:
        """Run a step that the request can continue without.

        Call this in a task of its own: it shortens the deadline of all calls that the task makes.

        Args:
            until: The end of its share of the deadline, by `time.monotonic()`.

        Returns:
            The result; None if the step was left out.

        Raises:
            ServeError: The step failed, and the caller caused it.
        """
        call = current()
        cancellation = CancellationToken(until, call.cancellation)
        enter(replace(call, cancellation=cancellation))
        with self.step(name, model) as step:
            try:
                async with asyncio.timeout(
                    None if cancellation.deadline == float("inf") else cancellation.remaining_seconds()
                ):
                    return await work(step)
            except TimeoutError:
                self.mark_degraded(step, DeadlineExceeded("the step exceeded its share of the deadline"))
            except ServeError as error:
                self.mark_degraded(step, error)
        return None
