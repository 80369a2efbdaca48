"""A canary run: every item of every task is sent in sequence; a failed item does not stop the run."""

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
    """An answer that is not fully correct."""

    item: CanaryItem
    answer: str


@dataclass(frozen=True)
class FailedItem:
    """An item without an answer, and the reason."""

    item: CanaryItem
    reason: str


@dataclass(frozen=True)
class CanaryResult:
    """The result of a task.

    Attributes:
        task: The name of the task.
        quality: Each metric, 0 to 1, over the answered items; empty without answers.
        items: The number of items sent.
        misses: The answers that are not fully correct.
        failures: The items without an answer.
        seconds: The duration.
    """

    task: str
    quality: Mapping[str, float]
    items: int
    misses: Sequence[WrongAnswer]
    failures: Sequence[FailedItem]
    seconds: float


async def replay(task: CanaryTask, gateway: GatewayClient, times: int, step: Callable[[], None]) -> CanaryResult:
    """Send every item of a task `times` times; `step` is called after each."""
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
