"""A replay: every item of every task asked, one after another; what fails stops nothing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from client.errors import GatewayError
from client.gateway import GatewayClient
from evaluation.canary_set import CanaryItem
from evaluation.tasks import CanaryTask

RIGHT = {"word_error_rate": 0.0, "character_error_rate": 0.0, "recall": 1.0, "accuracy": 1.0}


@dataclass(frozen=True)
class WrongAnswer:
    """An answer that is not quite right."""

    item: CanaryItem
    answer: str


@dataclass(frozen=True)
class FailedItem:
    """An item that had no answer, and why."""

    item: CanaryItem
    reason: str


@dataclass(frozen=True)
class CanaryResult:
    """How a task went.

    Attributes:
        task: Its name.
        quality: Each metric, 0 to 1, of the answers that there were; nothing if there were none.
        items: How many were asked.
        misses: The answers that are not quite right.
        failures: Those that had none.
        seconds: How long it took.
    """

    task: str
    quality: Mapping[str, float]
    items: int
    misses: Sequence[WrongAnswer]
    failures: Sequence[FailedItem]
    seconds: float


async def replay(task: CanaryTask, gateway: GatewayClient, times: int, step: Callable[[], None]) -> CanaryResult:
    """Ask every item of a task so many times; `step` is called after each."""
    began = time.monotonic()
    asked = [*task.items] * times
    answered: list[CanaryItem] = []
    answers: list[object] = []
    failures: list[FailedItem] = []
    try:
        async with task.ready(gateway):
            for item in asked:
                try:
                    answers.append(await task.ask(gateway, item))
                    answered.append(item)
                except GatewayError as error:
                    failures.append(FailedItem(item, str(error)))
                step()
    except GatewayError as error:
        failures = [FailedItem(item, str(error)) for item in asked]
    quality = task.marks(answered, answers) if answered else {}
    misses = [
        WrongAnswer(item, ", ".join(answer) if isinstance(answer, list) else str(answer))
        for item, answer in zip(answered, answers, strict=True)
        if any(mark != RIGHT[name] for name, mark in task.marks([item], [answer]).items())
    ]
    return CanaryResult(task.name, quality, len(asked), misses, failures, time.monotonic() - began)
