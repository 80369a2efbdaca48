"""The steps of a pipeline: when each began, how long it took, and what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken, current, enter
from servekit.rpc.errors import DeadlineExceeded, Overloaded, ServeError

Result = TypeVar("Result")


@dataclass(slots=True)
class Step:
    """One step.

    Attributes:
        name: What it does, with its number where there are several.
        model: The model that does it.
        start: When it began, in seconds after the request.
        seconds: How long it took.
        cached: Whether its result was known from before.
        error: Why it was left out; empty where it went well.
    """

    name: str
    model: str
    start: float
    seconds: float = 0.0
    cached: bool = False
    error: str = ""


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
        """How long the request has taken so far."""
        return time.monotonic() - self._began

    @property
    def degraded(self) -> list[str]:
        """The names of the steps that were left out."""
        return [step.name for step in self.steps if step.error]

    @contextmanager
    def step(self, name: str, model: str) -> Iterator[Step]:
        """Time a step, whatever becomes of it; one that its caller left before the deadline is not counted."""
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
        """Note that a step failed and the request goes on without it.

        Raises:
            ServeError: The error, where it is the caller's own mistake: those are told, not worked around.
        """
        if error.http < 500 and not isinstance(error, Overloaded) and error.http != 499:
            raise error
        step.error = error.message
        self.failures.append(error)

    async def run_optional(
        self, name: str, model: str, until: float, work: Callable[[Step], Awaitable[Result]]
    ) -> Result | None:
        """Do a step that the request can go on without.

        Run it in a task of its own: the deadline is narrowed for all that the task calls.

        Args:
            until: The moment, by `time.monotonic()`, at which its share of the deadline is spent.

        Returns:
            What it gave; None where it was left out.

        Raises:
            ServeError: It failed by the caller's own mistake.
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
                self.mark_degraded(step, DeadlineExceeded("it overran its share of the deadline"))
            except ServeError as error:
                self.mark_degraded(step, error)
        return None
