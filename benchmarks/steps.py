"""Continuous batching against one request after another, on a model whose step takes as long however many share it."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any

from benchmarks.report import BenchmarkResult, Progress, Verdict
from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.step import StepScheduler
from servekit.scheduling.step_model import StepOutput

STEP_SECONDS = 0.02
MAX_BATCH = 8
ARRIVAL_STEPS = 3  # 60 ms
CASES = {
    "4 callers of 20 steps, together": ([20] * 4, 0),
    "callers of 5, 20 and 50 steps, together": ([5, 20, 50], 0),
    "the same, 60 ms apart, the longest first": ([50, 20, 5], ARRIVAL_STEPS),
    "16 callers of 5, 20 and 50 steps, 60 ms apart": ([5, 20, 50] * 5 + [50], ARRIVAL_STEPS),
}


class Countdown:
    """A step model that counts down; it keeps how many requests shared each step."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def warm(self) -> None: ...

    def close(self) -> None: ...

    def begin(self, steps: int) -> list[int]:
        return [steps]

    def batch_key(self, state: list[int]) -> None: ...

    def step(self, states: Sequence[list[int]], cancellation: CancellationToken) -> Sequence[StepOutput[int]]:  # noqa: ARG002
        time.sleep(STEP_SECONDS)
        self.sizes.append(len(states))
        for state in states:
            state[0] -= 1
        return [StepOutput([state[0]], state[0] == 0) for state in states]

    def finish(self, state: list[int]) -> int:
        return state[0]


def measure(progress: Progress) -> BenchmarkResult:
    """Each case with its callers at once, and with one after another."""
    rows = {name: asyncio.run(_case(progress, name, *case)) for name, case in CASES.items()}
    ratio = rows["4 callers of 20 steps, together"]["times faster"]
    return BenchmarkResult(
        f"Steps of {STEP_SECONDS * 1e3:g} ms, at most {MAX_BATCH} requests a step",
        rows,
        [Verdict("four callers over one after another", ratio, "at least", 2.0)],
    )


async def _case(progress: Progress, name: str, callers: Sequence[int], arrival_steps: int) -> dict[str, float]:
    progress(name)
    model = Countdown()
    spec = ModelSpec(
        id="steps", task="step", services=("bench",), runtime="fake", title="", licence="Apache-2.0", memory_mb=1
    )
    scheduler: StepScheduler[int, int] = StepScheduler(
        spec, [model], Telemetry(ProcessSettings()), max_batch_cost=MAX_BATCH, max_queue_cost=1e6
    )
    await scheduler.start()

    async def call(steps: int, after_steps: int = 0) -> int:
        await asyncio.sleep(after_steps * STEP_SECONDS)
        return len([event async for event in scheduler.stream(steps, steps=steps)])

    async def one_after_another() -> None:
        for steps in callers:
            await call(steps)

    alone = await _seconds(one_after_another())
    model.sizes.clear()
    shared = await _seconds(asyncio.gather(*(call(steps, n * arrival_steps) for n, steps in enumerate(callers))))
    await scheduler.close()
    return {
        "callers": len(callers),
        "steps, one after another": sum(callers),
        "steps run": len(model.sizes),
        "of them shared": sum(size > 1 for size in model.sizes),
        "requests a step": sum(callers) / len(model.sizes),
        "s, one after another": alone,
        "s": shared,
        "times faster": alone / shared,
    }


async def _seconds(work: Awaitable[Any]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began
