"""What an evaluation asks, one task after another, and with what."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from client.errors import GatewayError, value_at
from client.gateway import GatewayClient
from evaluation.speech.outcome import FailedClip, MetricTable, ReviewedAnswer, TaskResult
from evaluation.speech_set.manifest import EvaluationClip

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass
class TaskContext:
    """One task while it is asked.

    Attributes:
        gateway: Who answers.
        folder: Where the clips' files are.
        step: Called after each item.
        failures: The items that had no answer so far.
    """

    gateway: GatewayClient
    folder: Path
    step: Callable[[], None]
    failures: list[FailedClip] = field(default_factory=list)

    def sound(self, clip: EvaluationClip) -> bytes:
        """The file of a clip."""
        return (self.folder / clip.file).read_bytes()

    async def transcript(self, recording: bytes, **fields: str) -> tuple[str, str]:
        """The text of a recording, and the language that was detected."""
        answer = await self.gateway.transcribe(recording, response_format="verbose_json", **fields)
        return str(value_at(answer, "text")), str(value_at(answer, "language"))

    async def each(
        self, items: Iterable[Item], ask: Callable[[Item], Awaitable[Answer]], named: Callable[[Item], str]
    ) -> list[tuple[Item, Answer]]:
        """The items that were answered, with their answers, one after another; what fails stops nothing."""
        answered = []
        for item in items:
            try:
                answered.append((item, await ask(item)))
            except GatewayError as error:
                self.failures.append(FailedClip(named(item), str(error)))
            self.step()
        return answered


class EvaluationTask(ABC):
    """One kind of question.

    Args:
        clips: The set; a task takes those that it can ask about.
        limit: How many of these at most, spread over all; 0 for all.

    Attributes:
        name: As the command has it.
        passes: How often each clip is asked about.
    """

    name: ClassVar[str]
    passes: ClassVar[int] = 1

    def __init__(self, clips: Sequence[EvaluationClip], limit: int) -> None:
        taken = [clip for clip in clips if self.takes(clip)]
        self.clips = spread(taken, limit)

    @property
    def items(self) -> int:
        """How many steps there are."""
        return self.passes * len(self.clips)

    @abstractmethod
    def takes(self, clip: EvaluationClip) -> bool:
        """Whether a clip is asked about."""

    @abstractmethod
    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        """Ask everything: the figures, and what to look at."""

    async def run(self, gateway: GatewayClient, folder: Path, step: Callable[[], None]) -> TaskResult:
        """What was found."""
        began = time.monotonic()
        asking = TaskContext(gateway, folder, step)
        tables, looks = await self.ask(asking)
        return TaskResult(self.name, tables, looks, asking.failures, time.monotonic() - began)


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items, drawn from all over, always the same, in their order; all of them for 0."""
    if not limit or len(items) <= limit:
        return list(items)
    drawn = np.random.default_rng(0).choice(len(items), limit, replace=False)
    return [items[number] for number in sorted(drawn)]


def grouped(answered: Iterable[tuple[EvaluationClip, Answer]]) -> dict[str, list[tuple[EvaluationClip, Answer]]]:
    """By what is hard about the clips."""
    groups: dict[str, list[tuple[EvaluationClip, Answer]]] = {}
    for clip, answer in answered:
        groups.setdefault(clip.label, []).append((clip, answer))
    return groups
